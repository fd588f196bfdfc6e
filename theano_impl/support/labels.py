"""Which rows are of one class, as the losses and minings of labelled rows are told.

    labels (n,), integers        two rows are of one class when their labels are equal
    labels (n, classes), bool    when they share at least one label
    same (n, m), bool            as the caller has compared them

The last two need not be transitive, and a row without any label is not of its own class. So
nothing may sort their rows by class: whoever uses them compares pairs.
"""

from __future__ import annotations

import theano.tensor as T
from theano.tensor.var import TensorVariable

from theano_impl.support.checks import check_dtype, check_labels, check_rank, check_size


def same_label(labels: TensorVariable, reference_labels: TensorVariable) -> TensorVariable:
    """Whether each row is of the class of each row of a reference, by their labels: (n, m), bool.

    Both are integers, (n,) and (m,), or both bool, (n, classes) and (m, classes).
    """
    if labels.dtype == "bool":  # the number of shared labels, by one matrix product
        labels, reference_labels = (T.cast(x, "float32") for x in (labels, reference_labels))
        return T.dot(labels, reference_labels.T) > 0
    return T.eq(labels[:, None], reference_labels)


def positives_and_negatives(
    related: TensorVariable, *, of_the_batch: bool
) -> tuple[TensorVariable, TensorVariable]:
    """Which rows are of each anchor's class and which of another one, (n, m) bool each.

    related: whether they are of one class. Of the batch itself, an anchor is neither to itself.
    """
    unrelated = T.eq(related, 0)
    if not of_the_batch:
        return related, unrelated
    others = T.eq(T.eye(related.shape[0]), 0)
    return related & others, unrelated & others


def checked_relation(
    labels: TensorVariable | None,
    same: TensorVariable | None,
    n_rows: TensorVariable,
    reference_labels: TensorVariable | None = None,
    n_reference: TensorVariable | None = None,
) -> tuple[TensorVariable | None, TensorVariable | None, TensorVariable | None]:
    """Labels of n_rows rows and of the reference, or `same` in their place, as they are checked.

    Without a reference the rows are compared with each other. Returns (labels, labels of the
    reference, same): two labels and None, or None, None and same.
    """
    n_reference = n_rows if n_reference is None else n_reference
    if same is not None:
        if labels is not None:
            raise ValueError("same: expected labels=None beside it, got both")
        same = T.as_tensor_variable(same)
        check_dtype("same", same, "bool")
        check_rank("same", same, ndim=2)
        same = check_size("same", same, 0, n_rows, "rows")
        same = check_size("same", same, 1, n_reference, "columns")
        return None, None, same
    if labels is None:
        raise ValueError("labels: expected labels, or same in their place, got None")
    labels = check_class_labels("labels", T.as_tensor_variable(labels), n_rows)
    if reference_labels is None:
        return labels, labels, None
    reference_labels = T.as_tensor_variable(reference_labels)
    reference_labels = check_class_labels("reference_labels", reference_labels, n_reference)
    check_dtype("reference_labels", reference_labels, labels.dtype)
    if labels.dtype == "bool":
        reference_labels = check_size(
            "reference_labels", reference_labels, 1, labels.shape[1], "classes"
        )
    return labels, reference_labels, None


def check_class_labels(name: str, labels: TensorVariable, n_rows: TensorVariable) -> TensorVariable:
    """A label for each of n_rows rows, (n,) integers, or several, (n, classes) bool."""
    if labels.dtype == "bool" and labels.ndim == 2:
        return check_size(name, labels, 0, n_rows, "rows")
    return check_labels(name, labels, n_rows)
