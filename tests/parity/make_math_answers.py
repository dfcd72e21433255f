#!/usr/bin/env python3
"""Whether math-verify 0.9 takes a completion's answer for the right one, as tests/parity/data/math/answers.json.

    python tests/parity/make_math_answers.py OUT.json

Each case is [completion, answer, equal]. The answers are plain or LaTeX, as in GSM8K and MATH; math-verify reads a LaTeX
answer only inside $...$, so it is given both forms and either may match.
"""
import json
import sys

from math_verify import parse, verify

BOXED = [  # (inside of \boxed{}, answer)
    ("5", "5"), ("5", "6"), ("-5", "5"), ("-5", "-5"), ("+5", "5"), ("05", "5"), ("5.0", "5"), ("5.01", "5"),
    ("0.5", "1/2"), ("1/2", "0.5"), ("\\frac{1}{2}", "0.5"), ("\\frac12", "\\frac{1}{2}"), ("\\dfrac{3}{4}", "0.75"),
    ("\\tfrac{3}{4}", "\\frac{3}{4}"), ("\\frac{2}{4}", "\\frac{1}{2}"), ("\\frac{2}{3}", "\\frac{3}{2}"),
    ("-\\frac{1}{2}", "\\frac{-1}{2}"), ("\\frac{1}{-2}", "-\\frac{1}{2}"), ("\\frac{-7}{-14}", "0.5"),
    ("\\frac{\\sqrt{3}}{2}", "\\frac{\\sqrt{3}}{2}"), ("\\frac{\\sqrt{3}}{2}", "\\frac{\\sqrt{2}}{2}"),
    ("\\frac{1}{\\sqrt{2}}", "\\frac{\\sqrt{2}}{2}"), ("\\frac{1}{\\frac{1}{2}}", "2"),
    ("\\frac{1+\\sqrt{5}}{2}", "\\frac{\\sqrt{5}+1}{2}"), ("\\sqrt{4}", "2"), ("\\sqrt2", "\\sqrt{2}"),
    ("2\\sqrt{3}", "\\sqrt{12}"), ("2\\sqrt{3}", "\\sqrt{3}"), ("\\sqrt[3]{8}", "2"), ("\\sqrt[3]{9}", "3"),
    ("3\\sqrt{2}+1", "1+3\\sqrt{2}"), ("2^{10}", "1024"), ("2^3", "8"), ("2^{-1}", "0.5"), ("10^{6}", "1000000"),
    ("3 \\times 10^8", "300000000"), ("3\\cdot 4", "12"), ("(-2)^3", "-8"), ("-2^2", "-4"), ("-2^2", "4"),
    ("2^{3^2}", "512"), ("\\pi", "\\pi"), ("2\\pi", "2\\pi"), ("2\\pi", "\\pi"), ("\\frac{\\pi}{2}", "\\frac{1}{2}\\pi"),
    ("4\\pi r", "4\\pi"), ("1,000", "1000"), ("1,234,567", "1234567"), ("1,234,567", "1234568"), ("1{,}000", "1000"),
    ("1,\\!000", "1000"), ("10,000.50", "10000.5"), ("\\$5", "5"), ("\\$1,200", "1200"), ("50\\%", "50\\%"),
    ("50\\%", "0.5"), ("50\\%", "50"), ("50\\%", "5"), ("12.5\\%", "\\frac{1}{8}"), ("5\\text{ cm}", "5"),
    ("5 \\text{ cm}^2", "5"), ("5\\text{ cm}", "6\\text{ cm}"), ("5\\,\\mathrm{m}", "5"), ("90^\\circ", "90"),
    ("90^{\\circ}", "90"), ("45°", "45"), ("12 \\text{ apples}", "12"), ("3\\frac{1}{2}", "3.5"),
    ("3 \\frac{1}{2}", "\\frac{7}{2}"), ("-1\\frac{1}{2}", "-1.5"), ("(1, 2)", "(1,2)"), ("(1, 2)", "(2, 1)"),
    ("(1, 2)", "(1, 3)"), ("(1,2,3)", "(1,2)"), ("\\left(1, \\frac{1}{2}\\right)", "(1, 0.5)"),
    ("(0, 1]", "(0,1]"), ("(0, 1]", "[0,1]"), ("[0, 1]", "[0, 1]"), ("[0, 1)", "(0, 1)"),
    ("(-\\infty, 3)", "(-\\infty,3)"), ("(-\\infty, 3]", "(-\\infty,3)"), ("\\{1, 2\\}", "\\{2, 1\\}"),
    ("\\{1,2,3\\}", "\\{1,2\\}"), ("\\{1, 2\\}", "\\{1, 3\\}"), ("1, 2", "2, 1"), ("1, -1", "-1, 1"), ("1, 2, 3", "1, 2"),
    ("x = 5", "5"), ("x=5", "x=5"), ("x = 5", "6"), ("x = -\\frac{3}{2}", "-1.5"), ("5", "x=5"), ("A", "A"), ("A", "B"),
    ("\\text{A}", "A"), ("(C)", "C"), ("\\textbf{D}", "D"), ("\\text{yes}", "yes"), ("\\mathbf{7}", "7"), ("\\boxed{3}", "3"),
    ("5x", "5"), ("x+1", "x+1"), ("x^2", "x^2"), ("x^2", "x^3"), ("2x", "x"), ("0", "0"), ("-0", "0"), ("0", "1"),
    ("1e3", "1000"), ("3.14", "\\pi"), ("3.14159", "\\pi"), ("0.333", "\\frac{1}{3}"), ("0.3333333333", "\\frac{1}{3}"),
    ("100000000000000000000", "100000000000000000000"), ("100000000000000000000", "100000000000000000001"),
    ("5!", "120"), ("\\frac{5}{0}", "5"), ("", "5"), ("7.", "7"), (".5", "0.5"), ("6 - 1", "5"), ("(5)", "5"), ("2(3)", "6"),
    ("\\infty", "\\infty"), ("-\\infty", "\\infty"), ("|{-3}|", "3"), ("\\log 2", "2"), ("12:30", "12"), ("3:4", "3"),
]

TEXTS = [  # (completion, answer)
    ("So 3+4=7.\n#### 7", "7"), ("#### 1,250", "1250"), ("#### -3", "-3"), ("#### $18", "18"), ("#### 8", "18"),
    ("#### 2.50", "2.5"), ("The answer is 42.", "42"), ("The answer is 42.", "24"), ("the final answer is $\\frac{3}{4}$.", "0.75"),
    ("Final Answer: 17", "17"), ("**Answer:** 12", "12"), ("The answer is: -7", "-7"), ("The answer is $1,000.", "1000"),
    ("The answer is 25%.", "25\\%"), ("The answer is (B).", "B"), ("Answer: C", "C"), ("Answer: C", "D"),
    ("The answer is 3/4", "0.75"), ("The answer is 3.5 hours.", "3.5"), ("The answer is 12 apples", "12"),
    ("2+3 = 5", "5"), ("2+3 = 5", "6"), ("so x = 12", "12"), ("10/4 = 2.5", "2.5"), ("1+1=2, 2+2=4", "4"),
    ("That makes 15 in all", "15"), ("We get 3 then 15.", "15"), ("We get 3 then 15.", "3"), ("It costs $1,234.50 in total", "1234.5"),
    ("The temperature is -4", "-4"), ("about 99% of them", "99\\%"), ("no number at all", "5"), ("", "5"),
    ("Therefore \\boxed{3} or rather \\boxed{4}.", "4"), ("Therefore \\boxed{3} or rather \\boxed{4}.", "5"),
    ("\\boxed{5} and then 6", "5"), ("The answer is 6, so \\boxed{5}", "5"), ("$\\boxed{\\frac{1}{2}}$", "0.5"),
    ("$$x = \\boxed{\\frac{\\sqrt{2}}{2}}$$", "\\frac{\\sqrt{2}}{2}"), ("$\\boxed{\\{1, 2\\}}$ is it", "\\{1,2\\}"),
    ("\\boxed{5", "5"), ("The answer is 5. There are 10 more.", "5"), ("8+5=13,4+7+1=12,3+2+1=6;623", "623"),
]


def equal(completion, answer):
    return any(verify(parse(gold), parse(completion)) for gold in (answer, f"${answer}$"))


def main(out):
    pairs = [(f"Hence $\\boxed{{{inside}}}$.", answer)
             for inside, answer in BOXED] + TEXTS
    cases = [[completion, answer, equal(completion, answer)] for completion, answer in pairs]
    with open(out, "w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]\n")
    print(len(cases), "cases,", sum(case[2] for case in cases), "equal")


if __name__ == "__main__":
    main(sys.argv[1])
