"""Every small edit of a source file: one operator, constant, comparison, call or statement.

Found in the syntax tree and made in the text, so that the rest of the file stays as it is. Texts,
annotations, imports and what is raised are left alone: they are no computation.
"""

from __future__ import annotations

import ast
import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

OPERATORS: dict[type[ast.AST], tuple[str, ...]] = {
    ast.Add: ("-",),
    ast.Sub: ("+",),
    ast.Mult: ("/",),
    ast.Div: ("*",),
    ast.FloorDiv: ("*",),
    ast.Mod: ("*",),
    ast.Pow: ("*",),
    ast.BitAnd: ("|",),
    ast.BitOr: ("&",),
}
# The boundary moved, and the other way round.
COMPARISONS: dict[type[ast.AST], tuple[str, ...]] = {
    ast.Lt: ("<=", ">="),
    ast.LtE: ("<", ">"),
    ast.Gt: (">=", "<="),
    ast.GtE: (">", "<"),
    ast.Eq: ("!=",),
    ast.NotEq: ("==",),
    ast.Is: ("is not",),
    ast.IsNot: ("is",),
    ast.In: ("not in",),
    ast.NotIn: ("in",),
}
# Of functions with these names a first argument is no value that the call could be left out for.
NO_VALUE = ("range", "len", "enumerate", "isinstance", "super", "zip", "map", "getattr", "partial")

# These do not mind the order of their arguments, or cannot be called the other way round.
SYMMETRIC = (
    *("min", "max", "minimum", "maximum", "array_equal", "eq", "neq", "addcmul_"),
    "isinstance",
)


@dataclass(frozen=True)
class Edit:
    """One edit of a file: the text between two offsets, replaced.

    `where` is the function, `old` and `new` what is read there. `scope` is a hash of the source of
    the function's outermost definition: an outcome holds as long as that stays.
    """

    file: str
    where: str
    line: int
    kind: str
    old: str
    new: str
    number: int  # among those of the same function that read the same
    start: int
    end: int
    scope: str

    @property
    def name(self) -> str:
        """What an edit is known by, whatever line it moves to."""
        again = f" #{self.number}" if self.number else ""
        return f"{self.file} {self.where}: {self.kind}: {self.old} → {self.new}{again}"

    @property
    def name_of_scope(self) -> str:
        """The function or class of the file that it is in."""
        return self.where.partition(".")[0]

    def applied(self, source: str) -> str:
        data = source.encode()
        return (data[: self.start] + self.new.encode() + data[self.end :]).decode()


def edits(file: str, source: str) -> list[Edit]:
    """All edits of a file, in the order of the places."""
    finder = _Finder(file, source)
    finder.visit(finder.tree)
    return finder.found


class _Finder(ast.NodeVisitor):
    def __init__(self, file: str, source: str) -> None:
        self.file = file
        self.data = source.encode()
        self.tree = ast.parse(source)
        starts = [0]
        for line in self.data.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        self.starts = starts
        self.scopes: list[str] = []
        self.outermost: ast.AST | None = None
        self.found: list[Edit] = []
        self.digests: dict[ast.AST, str] = {}  # of the sources of scopes
        self.seen: Counter[tuple[str, str, str, str]] = Counter()

    # places and texts

    def begin(self, node: Any) -> int:
        return int(self.starts[node.lineno - 1] + node.col_offset)

    def finish(self, node: Any) -> int:
        return int(self.starts[node.end_lineno - 1] + node.end_col_offset)

    def text(self, node: ast.AST) -> str:
        return self.data[self.begin(node) : self.finish(node)].decode()

    def add(self, kind: str, node: ast.AST, new: str, start: int = -1, end: int = -1) -> None:
        """An edit that replaces a node, or the text between two offsets of it."""
        start = self.begin(node) if start < 0 else start
        end = self.finish(node) if end < 0 else end
        old = self.data[start:end].decode()
        where = ".".join(self.scopes) or "module"
        key = (where, kind, old, new)
        scope = self.outermost if self.outermost is not None else node
        if scope not in self.digests:
            self.digests[scope] = hashlib.sha256(self.text(scope).encode()).hexdigest()[:12]
        line = self.data[:start].count(b"\n") + 1
        self.found.append(
            Edit(
                self.file,
                where,
                line,
                kind,
                old,
                new,
                self.seen[key],
                start,
                end,
                self.digests[scope],
            )
        )
        self.seen[key] += 1

    # what is left alone

    def visit_Import(self, node: ast.Import) -> None: ...
    def visit_ImportFrom(self, node: ast.ImportFrom) -> None: ...
    def visit_Raise(self, node: ast.Raise) -> None: ...
    def visit_JoinedStr(self, node: ast.JoinedStr) -> None: ...

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.name in ("__repr__", "extra_repr"):
            return
        with_outermost = self.outermost is None
        if with_outermost:
            self.outermost = node
        self.scopes.append(node.name)
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.visit(default)
        for statement in node.body:
            self.visit(statement)
        self.scopes.pop()
        if with_outermost:
            self.outermost = None

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        with_outermost = self.outermost is None
        if with_outermost:
            self.outermost = node
        self.scopes.append(node.name)
        for statement in node.body:
            self.visit(statement)
        self.scopes.pop()
        if with_outermost:
            self.outermost = None

    # what is edited

    def between(self, left: ast.AST, right: ast.AST) -> tuple[int, int]:
        """The offsets of an operator that stands between two operands, brackets aside."""
        start, end = self.finish(left), self.begin(right)
        while chr(self.data[start]) in " \t\n\\)":
            start += 1
        while chr(self.data[end - 1]) in " \t\n\\(":
            end -= 1
        return start, end

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg != "strict":  # of zip: lengths that differ would be a mistake of our own
            self.visit(node.value)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        for new in OPERATORS.get(type(node.op), ()):
            self.add("operator", node, *self.put(new, node.left, node.right))
        self.generic_visit(node)

    def put(self, new: str, left: ast.AST, right: ast.AST) -> tuple[str, int, int]:
        return (new, *self.between(left, right))

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        for new in OPERATORS.get(type(node.op), ()):
            self.add("operator", node, *self.put(f"{new}=", node.target, node.value))
        self.visit(node.value)

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for place, operator in enumerate(node.ops):
            for new in COMPARISONS.get(type(operator), ()):
                self.add("comparison", node, *self.put(new, operands[place], operands[place + 1]))
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        new = "or" if isinstance(node.op, ast.And) else "and"
        self.add("logic", node, *self.put(new, node.values[0], node.values[1]))
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if not isinstance(node.op, ast.UAdd):
            self.add("sign", node, f"({self.text(node.operand)})")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self.add("constant", node, str(not value))
        elif isinstance(value, int):
            self.add("constant", node, str(value + 1))
        elif isinstance(value, float):
            self.add("constant", node, repr(2 * value or 1.0))

    def visit_If(self, node: ast.If) -> None:
        self.negate(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.negate(node.test)
        self.generic_visit(node)

    def negate(self, test: ast.expr) -> None:
        negated = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
        if not negated and not isinstance(test, ast.Compare):  # those have edits of their own
            self.add("condition", test, f"not ({self.text(test)})")

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self.add("statement dropped", node, "pass")
            self.visit_Call(node.value, dropped=False)

    def visit_Call(self, node: ast.Call, dropped: bool = True) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        name = node.func.id if isinstance(node.func, ast.Name) else name
        plain = [one for one in node.args if not isinstance(one, ast.Starred)]
        if dropped and name not in NO_VALUE and not name[:1].isupper():
            if isinstance(node.func, ast.Attribute) and self.is_value(node.func.value):
                self.add("call dropped", node, self.operand(node.func.value))
            elif plain:
                self.add("call dropped", node, self.operand(plain[0]))
        if len(plain) > 1 and plain == node.args[: len(plain)] and name not in SYMMETRIC:
            first, second = self.text(plain[0]), self.text(plain[1])
            if first != second:
                middle = self.data[self.finish(plain[0]) : self.begin(plain[1])].decode()
                new = f"{second}{middle}{first}"
                self.add("swapped", node, new, self.begin(plain[0]), self.finish(plain[1]))
        self.generic_visit(node)

    def operand(self, node: ast.expr) -> str:
        """The text of an expression where it binds closely."""
        close = (ast.Name, ast.Attribute, ast.Constant, ast.Call, ast.Subscript, ast.List)
        return self.text(node) if isinstance(node, close) else f"({self.text(node)})"

    @staticmethod
    def is_value(node: ast.expr) -> bool:
        """Whether a method belongs to a value: `x.sum()`, but not `torch.sum(x)`."""
        if isinstance(node, ast.Name):
            return node.id not in MODULES
        return not isinstance(node, ast.Attribute) or _Finder.is_value(node.value)


MODULES = {"torch", "F", "nn", "np", "T", "tf", "keras", "ops", "theano", "math", "json", "os"}
MODULES |= {"text", "widths", "interchange", "scipy", "sanity_messages"}
