/** JSON as Python reads and writes it. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Real, byCodePoint, parseObject, plain, pythonText } from "../src/json.js";

const value = (/** @type {string} */ text) => parseObject(`{"x": ${text}}`, "it").x;

test("numbers keep what they are", () => {
    assert.equal(value("3"), 3);
    assert.ok(Object.is(value("-0"), 0));
    assert.equal(value("0.5"), 0.5);
    assert.deepEqual(value("1.0"), new Real(1));
    assert.deepEqual(value("1e2"), new Real(100));
    assert.equal(value("9007199254740993"), 9007199254740993n);
    assert.deepEqual(plain({ a: [new Real(2), { b: new Real(-0) }] }), { a: [2, { b: -0 }] });
});

// As json.dumps(…, sort_keys=True) of Python 3.11 prints them.
const PRINTED = /** @type {[string, string][]} */ ([
    ["1e-05", "1e-05"],
    ["0.0001", "0.0001"],
    ["1.5e-7", "1.5e-07"],
    ["1e16", "1e+16"],
    ["123456789012345680.0", "1.2345678901234568e+17"],
    ["1234567890123456.0", "1234567890123456.0"],
    ["1e22", "1e+22"],
    ["-0.0", "-0.0"],
    ["1e308", "1e+308"],
    ["5e-324", "5e-324"],
    ["16000.0", "16000.0"],
    ["0.1", "0.1"],
    ["[1,[],{}]", "[1, [], {}]"],
    ['{"b": null, "a": true}', '{"a": true, "b": null}'],
    ['"\\u00c4\\n\\u007f\\ud83d\\ude00\\/"', '"\\u00c4\\n\u007f\\ud83d\\ude00/"'],
    ['"Ä"', '"\\u00c4"'],
]);

test("text is Python's", () => {
    for (const [text, printed] of PRINTED) assert.equal(pythonText(value(text)), printed);
});

test("keys are sorted by code points", () => {
    assert.ok(byCodePoint("\u{1f600}", "\uffff") > 0);
    assert.ok(byCodePoint("a", "ab") < 0);
});

test("what is no JSON object is refused", () => {
    const wrong = [
        "",
        "[]",
        "3",
        '{"a": 1, "a": 1}',
        '{"a": NaN}',
        '{"a": 01}',
        '{"a": 1e999}',
        '{"a": 1,}',
    ];
    wrong.push(
        '{"a": "\\ud800"}',
        "{'a': 1}",
        '{"a": 1} x',
        '{"a": "\n"}',
        `{"a": ${"[".repeat(9999)}`,
        '{"a": 1.}',
    );
    for (const text of wrong)
        assert.throws(() => parseObject(text, "the header"), /^Error: expected the header/, text);
});

test("a key may have any name", () => {
    const found = parseObject('{"__proto__": {"x": 1}, "constructor": 2}', "it");
    assert.deepEqual(Object.keys(found), ["__proto__", "constructor"]);
    assert.equal(pythonText(found), '{"__proto__": {"x": 1}, "constructor": 2}');
});
