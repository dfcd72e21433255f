"""Prints src/text/unicode_tables.cpp: where the `tokenizers` library's Unicode differs from PCRE2's and utf8proc's.

The library is the oracle: every code point is run through it. PCRE2 10.42 knows Unicode 14, as Python 3.11's unicodedata
does; the library's regular expressions know Unicode 16, its lower-casing 17 and its normal forms 9.

    python tests/parity/make_unicode_tables.py > src/text/unicode_tables.cpp
"""
import ctypes
import unicodedata

from tokenizers import Regex, normalizers, pre_tokenizers

assert unicodedata.unidata_version == "14.0.0", "run with Python 3.11"
CODES = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
ALL = "".join(map(chr, CODES))


def regex_set(pattern):
    pieces = pre_tokenizers.Split(Regex(pattern), "removed", invert=True).pre_tokenize_str(ALL)
    return {ord(c) for piece, _ in pieces for c in piece}


def isolated_by(pre_tokenizer):
    pieces = pre_tokenizer.pre_tokenize_str("aa".join(map(chr, CODES)))
    return {ord(piece) for piece, _ in pieces if len(piece) == 1}


def runs(codes):
    out = []
    for c in sorted(codes):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def as_class(codes):
    return "".join(rf"\\x{{{a:X}}}" + (rf"-\\x{{{b:X}}}" if b > a else "") for a, b in runs(codes))


def quoted(text):
    parts, line = [], ""
    for item in text.replace(r"\\x", " \\\\x").split(" "):
        if len(line) + len(item) > 105:
            parts.append(line)
            line = ""
        line += item
    return "\n    ".join(f'"{p}"' for p in parts + [line])


def utf8_size(c):
    return len(chr(c).encode())


def proxies():
    """Code points of another category than in Unicode 14, with the nearest old one that is alike and as long in UTF-8."""
    category = {}
    for name in sorted({unicodedata.category(chr(c)) for c in CODES} - {"Cn", "Cs"}):
        for c in regex_set(rf"\p{{{name}}}"):
            category[c] = name
    alphabetic = regex_set(r"\p{Alphabetic}")
    kind = {c: (category.get(c, "Cn"), c in alphabetic, utf8_size(c)) for c in CODES}
    changed = [c for c in CODES if kind[c][0] != unicodedata.category(chr(c))]
    same = {}
    for c in CODES:
        if kind[c][0] == unicodedata.category(chr(c)):
            same.setdefault(kind[c], []).append(c)
    out = []
    for first, last in runs(changed):
        for c in range(first, last + 1):
            if out and out[-1][1] == c - 1 and kind[c] == kind[c - 1]:
                out[-1][1] = c
            else:
                out.append([c, c, min(same[kind[c]], key=lambda old: abs(old - c))])
    return out


class Utf8proc:
    STABLE, COMPAT, COMPOSE, DECOMPOSE = 2, 4, 8, 16

    def __init__(self):
        self.lib, self.libc = ctypes.CDLL("libutf8proc.so.2"), ctypes.CDLL(None)
        self.lib.utf8proc_map.restype = ctypes.c_ssize_t

    def lower(self, c):
        return chr(self.lib.utf8proc_tolower(c))

    def map(self, text, options):
        raw, out = text.encode(), ctypes.c_void_p()
        size = self.lib.utf8proc_map(raw, ctypes.c_ssize_t(len(raw)), ctypes.byref(out), options)
        result = ctypes.string_at(out, size).decode()
        self.libc.free(out)
        return result


def inert(utf8proc):
    """Code points that utf8proc decomposes or reorders and the library leaves alone."""
    u, found = utf8proc, set()
    forms = [(normalizers.NFD(), u.STABLE | u.DECOMPOSE), (normalizers.NFKD(), u.STABLE | u.DECOMPOSE | u.COMPAT),
             (normalizers.NFC(), u.STABLE | u.COMPOSE), (normalizers.NFKC(), u.STABLE | u.COMPOSE | u.COMPAT)]
    for theirs, options in forms:
        for c in CODES[1:]:
            for text in (chr(c), "a" + chr(c) + "\u0334", "a\u0345" + chr(c) + "\u0301"):
                if theirs.normalize_str(text) != u.map(text, options):
                    found.add(c)
    canonical = {ord(part) for c in found for part in u.map(chr(c), u.STABLE | u.DECOMPOSE)}
    # A part of a new canonical pair must not compose either; old letters are parts of compatibility forms only.
    return found | {c for c in canonical if not unicodedata.decomposition(chr(c)) and c > 0x10FFF}


def nonspacing_marks():
    """What BertNormalizer strips; a mark in the middle of the text, so that nothing composes with it."""
    strip = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
    return {c for c in CODES if strip.normalize_str("a" + chr(c) + "b") == "ab"}


def lower_runs(utf8proc):
    lower = normalizers.Lowercase()
    out = []
    for c in CODES:
        theirs = lower.normalize_str(chr(c))
        if c == 0x130 or theirs == utf8proc.lower(c):
            continue
        delta = ord(theirs) - c
        if out and out[-1][1] == c - 1 and out[-1][2] == delta:
            out[-1][1] = c
        else:
            out.append([c, c, delta])
    return out


def table(kind, name, rows):
    body, line = [], "   "
    for row in rows:
        item = " {" + ", ".join(f"{v:#x}" if i < 2 or kind == "Proxy" else str(v) for i, v in enumerate(row)) + "},"
        if len(line) + len(item) > 118:
            body.append(line)
            line = "   "
        line += item
    body.append(line)
    text = "\n".join(body)
    return f"constexpr {kind} {name}[] = {{\n{text}\n}};\n"


def main():
    utf8proc = Utf8proc()
    digits = isolated_by(pre_tokenizers.Digits(individual_digits=True)) - regex_set(r"\p{N}")
    punctuation = isolated_by(pre_tokenizers.Punctuation())
    print("// Generated by tests/parity/make_unicode_tables.py.")
    print('#include "text/unicode_tables.h"\n\nnamespace rft::text {\nnamespace {\n\n// clang-format off')
    print(table("Proxy", "kProxies", proxies()))
    print(table("CodeRange", "kInert", runs(inert(utf8proc))))
    print(table("CodeRange", "kMarks", runs(nonspacing_marks())))
    print(table("LowerRun", "kLower", lower_runs(utf8proc)))
    print("}  // namespace\n")
    print("std::span<const Proxy> proxies() { return kProxies; }")
    print("std::span<const CodeRange> inert_codes() { return kInert; }")
    print("std::span<const CodeRange> nonspacing_marks() { return kMarks; }")
    print("std::span<const LowerRun> lower_runs() { return kLower; }")
    digit_class = '[\\\\p{N}' + as_class(digits) + ']'
    print(f"const char* const kDigit =\n    {quoted(digit_class)};")
    print(f"const char* const kPunctuation =\n    {quoted('[' + as_class(punctuation) + ']')};")
    print("// clang-format on\n\n}  // namespace rft::text")


if __name__ == "__main__":
    main()
