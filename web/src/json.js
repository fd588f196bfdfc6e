/**
 * JSON as the NumPy reader understands it, and the text that its checksum is computed from.
 *
 * JSON.parse does not do: it takes a key that is given twice, tells 1.0 from 1 no more, and rounds
 * whole numbers beyond 2⁵³. Here 1.0 is a `Real`, and a large whole number a BigInt.
 */

/** A number with a fraction or an exponent whose value is whole: 1.0 is no count. */
export class Real {
    /** @param {number} value */
    constructor(value) {
        this.value = value;
    }
}

const DEEPEST = 500;
const MOST_DIGITS = 4300; // of a whole number in Python
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?/y;
const SPACE = /[ \t\n\r]*/y;
const STRING = /"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const WORDS = /** @type {[string, unknown][]} */ ([
    ["true", true],
    ["false", false],
    ["null", null],
]);

/**
 * A JSON object; an Error that says what was expected for anything else.
 *
 * @param {string} text
 * @param {string} what names the text in an error
 * @returns {Record<string, any>}
 */
export function parseObject(text, what) {
    let place = 0;

    /** @param {string} got @returns {never} */
    function fail(got) {
        throw new Error(`expected ${what} in JSON, got ${got} at character ${place}`);
    }
    /** @param {RegExp} pattern @returns {RegExpExecArray | null} */
    function take(pattern) {
        pattern.lastIndex = place;
        const found = pattern.exec(text);
        if (found) place = pattern.lastIndex;
        return found;
    }
    /** @param {string} sign */
    function takes(sign) {
        take(SPACE);
        const found = text[place] === sign;
        if (found) place += 1;
        return found;
    }
    /** @returns {string} */
    function string() {
        const found = take(STRING);
        if (!found) return fail("no text in quotes");
        const value = JSON.parse(found[0]);
        if (!value.isWellFormed()) fail("half of a surrogate pair");
        return value;
    }
    /** @param {number} depth @returns {any} */
    function value(depth) {
        if (depth > DEEPEST) throw new Error(`expected ${what} nested less deeply`);
        take(SPACE);
        if (takes("{")) return object(depth);
        if (takes("[")) return list(depth);
        if (text[place] === '"') return string();
        for (const [word, meaning] of WORDS) {
            if (text.startsWith(word, place)) {
                place += word.length;
                return meaning;
            }
        }
        const found = take(NUMBER);
        return found ? number(found) : fail(place < text.length ? `'${text[place]}'` : "the end");
    }
    /** @param {RegExpExecArray} found */
    function number([digits, fraction, exponent]) {
        const number = Number(digits);
        if (fraction !== undefined || exponent !== undefined) {
            if (!Number.isFinite(number)) fail("a number beyond the largest");
            return Number.isInteger(number) ? new Real(number) : number;
        }
        if (digits.length > MOST_DIGITS) fail(`a number of ${digits.length} digits`);
        return Number.isSafeInteger(number) ? number || 0 : BigInt(digits);
    }
    /** @param {number} depth */
    function object(depth) {
        const entries = new Map();
        if (takes("}")) return {};
        do {
            take(SPACE);
            const key = string();
            if (entries.has(key)) fail("a key that is given twice");
            if (!takes(":")) fail("no colon");
            entries.set(key, value(depth + 1));
        } while (takes(","));
        if (!takes("}")) fail("no end of an object");
        return Object.fromEntries(entries); // its keys are its own, "__proto__" too
    }
    /** @param {number} depth */
    function list(depth) {
        const values = /** @type {any[]} */ ([]);
        if (takes("]")) return values;
        do values.push(value(depth + 1));
        while (takes(","));
        if (!takes("]")) fail("no end of a list");
        return values;
    }

    const found = value(0);
    take(SPACE);
    if (place < text.length) fail("more text");
    if (!isObject(found)) throw new Error(`expected ${what} to be an object, got ${shown(found)}`);
    return found;
}

/** @param {any} value @returns {value is Record<string, any>} */
export function isObject(value) {
    return (
        typeof value === "object" &&
        value !== null &&
        !Array.isArray(value) &&
        !(value instanceof Real)
    );
}

/**
 * The text that Python's `json.dumps(value, sort_keys=True)` gives: what a checksum covers.
 *
 * @param {any} value as `parseObject` gives it
 * @returns {string}
 */
export function pythonText(value) {
    if (typeof value === "string") return quoted(value);
    if (typeof value === "number")
        return Number.isInteger(value) ? String(value) : pythonFloat(value);
    if (value instanceof Real) return pythonFloat(value.value);
    if (Array.isArray(value)) return `[${value.map(pythonText).join(", ")}]`;
    if (isObject(value)) {
        const keys = Object.keys(value).sort(byCodePoint);
        return `{${keys.map((key) => `${quoted(key)}: ${pythonText(value[key])}`).join(", ")}}`;
    }
    return String(value); // true, false, null, a BigInt
}

/** The order in which Python sorts text; JavaScript's own compares halves of surrogate pairs.
 *
 * @param {string} one @param {string} other
 */
export function byCodePoint(one, other) {
    const [left, right] = [[...one], [...other]];
    for (let i = 0; i < Math.min(left.length, right.length); i += 1) {
        const difference = Number(left[i].codePointAt(0)) - Number(right[i].codePointAt(0));
        if (difference) return difference;
    }
    return left.length - right.length;
}

/** @param {string} text */
function quoted(text) {
    const escape = (/** @type {string} */ one) =>
        `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`;
    return JSON.stringify(text).replace(/[\u0080-\uffff]/g, escape);
}

/** A float as Python prints it: both take the fewest digits, and write exponents differently.
 *
 * @param {number} value
 */
function pythonFloat(value) {
    if (value === 0) return Object.is(value, -0) ? "-0.0" : "0.0";
    const [, sign, first, rest = "", power] = /** @type {RegExpExecArray} */ (
        /^(-?)(\d)(?:\.(\d+))?e([-+]\d+)$/.exec(value.toExponential())
    );
    const [digits, exponent] = [first + rest, Number(power)];
    if (exponent < -4 || exponent >= 16) {
        const mark = exponent < 0 ? "-" : "+";
        const tail = rest ? `.${rest}` : "";
        return `${sign}${first}${tail}e${mark}${String(Math.abs(exponent)).padStart(2, "0")}`;
    }
    if (exponent < 0) return `${sign}0.${"0".repeat(-exponent - 1)}${digits}`;
    const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, "0");
    return `${sign}${whole}.${digits.slice(exponent + 1) || "0"}`;
}

/**
 * A value without `Real`: as a program uses it.
 *
 * @param {any} value
 * @returns {any}
 */
export function plain(value) {
    if (value instanceof Real) return value.value;
    if (Array.isArray(value)) return value.map(plain);
    if (!isObject(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one)]));
}

/** A value for a message, cut to 99 characters.
 *
 * @param {any} value
 */
export function shown(value) {
    return (typeof value === "function" ? "a function" : pythonText(value ?? null)).slice(0, 99);
}

/** A shape as Python writes it. @param {(number | string)[]} shape */
export function tuple(shape) {
    return `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;
}
