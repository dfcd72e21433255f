"""Conversations rendered by transformers' apply_chat_template with the chat templates that TRL ships (Apache-2.0).

usage: python tests/parity/make_chat_templates.py tests/parity/data/chat/templates.json [--all]   (needs trl, transformers)

The templates are those of real models, as TRL keeps them in trl/chat_templates; their text is stored beside what they
gave, with an error's message where the template refused a conversation. --all takes every template (large). The last
part holds single expressions and statements, rendered by the same environment.
"""
import datetime
import glob
import json
import os
import sys

import trl
from transformers.utils.chat_template_utils import _compile_jinja_template, render_jinja_template

KEPT = """cohere2 deepseek_r1_distill deepseekv3 gemma gemma3 gemma4_v2 glm4moe gptoss lfm2_v2 llama3 llama3_1
llama3_2 llama3_training nemotron_3_nano phi3 phi3_5 qwen2_5 qwen2_5_training qwen3 qwen3_training qwen3_5_think smolvlm""".split()
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather \"now\" in a city — naïve & <b>bold</b>",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "The city's name"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        "days": {"type": "array", "items": {"type": "integer"}}}, "required": ["city"]},
    "return": {"type": "number", "description": "degrees"}}}
CALL = {"id": "call00001", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Zürich", "days": [1, 2]}}}


def m(role, content, **more):
    return {"role": role, "content": content, **more}


CHATS = [
    {"messages": [m("user", "Hi")]},
    {"messages": [m("user", "Hi")], "add_generation_prompt": True},
    {"messages": [m("system", "Be brief."), m("user", "Hi"), m("assistant", "Hello!"), m("user", "Bye")], "add_generation_prompt": True},
    {"messages": [m("system", "  spaced  "), m("user", "  a\n b \n"), m("assistant", "\nc  "), m("user", "d"), m("assistant", "e")]},
    {"messages": [m("user", "😀 नमस्ते — \"quotes\" 'single' \\n <|im_end|> {{ x }}"), m("assistant", "日本語\t\u200b.")]},
    {"messages": [m("user", ""), m("assistant", "")]},
    {"messages": [m("user", "2+2?"), m("assistant", "<think>\nadd them\n</think>\n\n4"), m("user", "3+3?"), m("assistant", "<think>again</think>6")]},
    {"messages": [m("user", "2+2?"), m("assistant", "4", reasoning_content="add them"), m("user", "thanks")], "add_generation_prompt": True},
    {"messages": [m("user", "Weather?")], "tools": [WEATHER], "add_generation_prompt": True},
    {"messages": [m("system", "Use tools."), m("user", "Weather?"), m("assistant", "", tool_calls=[CALL]),
                  m("tool", "21.5", name="get_weather", tool_call_id="call00001"), m("assistant", "It is 21.5.")], "tools": [WEATHER]},
    {"messages": [m("user", "Weather?"), m("assistant", "Wait.", tool_calls=[CALL, CALL]), m("tool", "1", name="get_weather"),
                  m("tool", {"temp": 2.5, "ok": True, "none": None}, name="get_weather")], "tools": [WEATHER], "add_generation_prompt": True},
    {"messages": [m("user", [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]), m("assistant", "ok")]},
    {"messages": [m("user", "Hi"), m("user", "again")]},
    {"messages": [m("assistant", "I begin"), m("user", "ok")]},
    {"messages": [m("user", "Hi")], "enable_thinking": False, "add_generation_prompt": True},
    {"messages": [m("developer", "Rules."), m("user", "Hi"), m("assistant", None, tool_calls=[CALL])]},
]
SNIPPETS = r"""{{ 1 + 2 * 3 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 1e3 }} {{ 0.1 + 0.2 }} {{ 1e20 }} {{ 1.5e-7 }}
{{ 'a' ~ 1 ~ none ~ true }} {{ "x" * 3 }} {{ [1, 2] + [3] }} {{ (1,) }} {{ {'a': [1, 'b'], "c": {'d': None}} }}
{{ 'abc'[0] }}{{ 'abc'[-1] }}{{ 'abcdef'[1:4] }}{{ 'abcdef'[::-1] }}{{ [1,2,3][1:] }}{{ [1,2,3][::2] }}{{ 'héllo'[1:3] }}{{ messages[0]['role'] }}
{{ 1 < 2 < 3 }} {{ 1 < 2 > 5 }} {{ 'a' in 'cat' }} {{ 'x' not in ['x'] }} {{ not false and true or false }} {{ none is none }} {{ x is defined }} {{ x is not defined }}
{{ 'yes' if 1 else 'no' }}{{ 'yes' if 0 }}{{ x|default('d') }}{{ ''|default('e', true) }}{{ (x.y is defined) if (x is defined) else 'u' }}
{% for i in range(3) %}{{ loop.index }}/{{ loop.length }}{{ ',' if not loop.last }}{% endfor %}{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %}
{% for i in [1,2,3,4] if i is even %}{{ i }}{{ loop.previtem }}{% else %}none{% endfor %}{% for i in [] %}x{% else %}empty{% endfor %}
{% set ns = namespace(n=0) %}{% for i in range(5) %}{% if i == 3 %}{% break %}{% endif %}{% if i == 1 %}{% continue %}{% endif %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}
{% set a = 1 %}{% for i in [1] %}{% set a = 2 %}{% endfor %}{{ a }}{% if true %}{% set a = 3 %}{% endif %}{{ a }}{% set b %}<{{ a }}>{% endset %}{{ b }}{% set c | upper %}shout{% endset %}{{ c }}
{% macro f(x, y=2) %}[{{ x }},{{ y }}]{% endmacro %}{{ f(1) }}{{ f(1, y=3) }}{% macro g() %}({{ caller() }}){% endmacro %}{% call g() %}in{% endcall %}
{{ '  a b '|trim }}|{{ 'a,b,,c'.split(',') }}|{{ ' a  b '.split() }}|{{ 'a b c'.split(' ', 1) }}|{{ 'a.b.c'.rsplit('.', 1) }}|{{ 'x' .join(['a','b']) if false else ','.join(['a', 'b']) }}
{{ 'Hello World'|lower }} {{ 'straße'|upper }} {{ "they're bill's"|title }} {{ 'hELLO'|capitalize }} {{ 'aXbXc'|replace('X', '-') }} {{ 'aaa'.replace('a', 'b', 2) }}
{{ 'abc'.startswith('ab') }} {{ 'abc'.endswith(('x', 'c')) }} {{ 'abcabc'.find('c') }} {{ 'abcabc'.rfind('c') }} {{ 'é b'.find('b') }} {{ 'a\nb\r\nc'.splitlines() }} {{ 'xxaxx'.strip('x') }}|{{ 'xxa'.lstrip('x') }}
{{ [3,1,2]|sort }} {{ ['b','A','c']|sort }} {{ [1,2,1]|unique|list }} {{ [1,2,3]|reverse|list }} {{ 'abc'|reverse }} {{ [1,2,3]|sum }} {{ [1,2]|first }}{{ [1,2]|last }} {{ [1,5,2]|max }}{{ [4,2]|min }}
{{ [{'a':1,'b':'x'},{'a':2,'b':'y'}]|map(attribute='b')|join('+') }} {{ [{'a':1},{'a':2}]|selectattr('a','equalto',2)|list }} {{ [{'a':0},{'a':2}]|rejectattr('a')|list }} {{ ['a','b']|map('upper')|list }} {{ [0,1,2]|select|list }} {{ [1,2,3]|select('odd')|list }}
{{ {'b':1,'a':2}|dictsort }} {{ {'a': 1}|items|list }} {{ {'a': 1}.get('b', 'z') }} {{ {'a': 1}.get('b') }} {{ {'a': 1}.keys()|list }} {{ {'a': 1}.values()|list }} {{ {'a':1}|length }} {{ 'ñandú'|length }}
{{ {'a': 1, 'b': [true, none, 1.5, 'é"<>&\n']}|tojson }} {{ {'a': [1, {'b': 2}], 'c': {}, 'd': []}|tojson(indent=2) }} {{ 'é'|tojson(ensure_ascii=true) }} {{ [1,2]|tojson(separators=(',', ':')) }}
{{ '5'|int + 1 }} {{ 'x'|int }} {{ '2.5'|float }} {{ 3.7|int }} {{ 2.567|round(2) }} {{ 3|string + '!' }} {{ -3|abs }} {{ 7|float }} {{ true + 1 }}
{{ 1 is number }} {{ 'a' is string }} {{ [] is iterable }} {{ 'a' is iterable }} {{ {} is mapping }} {{ 'a' is sequence }} {{ true is boolean }} {{ 4 is divisibleby 2 }} {{ 3 is odd }} {{ 1 is integer }} {{ 1.0 is float }} {{ 2 is in [1,2] }} {{ 'a' is eq 'a' }} {{ range is callable }}
{%- if true -%}   tight   {%- endif -%}  x  {{- 'y' -}}  z
   {% if true %}
  kept
   {% endif %}
end{# comment #} after {#- tight -#}  c
{% raw %}{{ not }} {% this %}{% endraw %}{% filter upper %}loud{% endfilter %}{% with q = 5 %}{{ q }}{% endwith %}{% generation %}said{% endgeneration %}
{{ 'a' 'b' }}{{ "q\"uote\t\u00e9\x41" }}{{ 'it''s' }}{{ 1_000 }}{{ [1, 2,] }}{{ {'a': 1,} }}{{ (1 if false else 2) }}{{ dict(a=1, b=2) }}
{% for x in [[1,[2]],[3,[]]] recursive %}{{ x[0] }}{% endfor %}{% for a, b in [(1,2),(3,4)] %}{{ a+b }} {{ loop.cycle('o','e') }}{% endfor %}
{{ 'line1\nline2'|indent(2) }}|{{ 'l1\nl2'|indent(2, true) }}|{{ '<a>'|e }}|{{ 'x'|safe }}|{{ ['a', 1, none]|join(', ') }}
{{ undefined_thing }}|{{ undefined_thing is undefined }}|{{ undefined_thing == other_undefined }}|{{ {}['k'] is defined }}|{{ [1][5] is defined }}
""".split("\n")
# Several lines that belong together: white space is what they test.
SNIPPETS = [s for s in SNIPPETS if s and not s.startswith(("   ", "  kept", "end{#"))] + [
    "a\n   {% if true %}\n  kept\n   {% endif %}\nend{# comment #} after {#- tight -#}  c\n",
    "{% for i in [1, 2] %}\n* {{ i }}\n{% endfor %}\n\ntail\n\n", "  {%+ if true %} x {%+ endif +%}\n y", "{{ 'a' }}\n{{ 'b' }}\n",
    "{% set x = 1 %}\n\n{% set y = 2 %}\r\n{{ x }}\r\n"]
BAD = ["{{ x.y.z }}", "{% if %}", "{{ 1 + }}", "{% for %}", "{{ 'a' | nosuch }}", "{% include 'x' %}", "{{ raise_exception('no!') }}", "{{ 'a'.__class__.x }}",
       "{{ [].append(1) }}", "{% if true %}", "{{ 1 + 'a' }}", "{{ range(10**9) }}", "{{ x() }}", "{% endif %}", "{{ 'abc }}", "{# no end", "{{ 1 // 0 }}",
       "{% set x.y = 1 %}", "{{ messages.nothing.at.all }}"]


def render(template, chat):
    # What apply_chat_template does before it renders.
    messages = [{k: v for k, v in message.items() if v is not None} for message in chat["messages"]]
    more = {k: v for k, v in chat.items() if k not in ("messages", "tools", "add_generation_prompt")}
    try:
        text, _ = render_jinja_template([messages], tools=chat.get("tools"), chat_template=template,
                                        add_generation_prompt=chat.get("add_generation_prompt", False),
                                        date_string="26 Jul 2024", **TOKENS, **more)
        return {"text": text[0]}
    except Exception as error:  # the template's own refusal, or what it can't do
        return {"error": str(error)}


found = {os.path.basename(f)[:-6]: open(f, encoding="utf-8", newline="").read()
         for f in sorted(glob.glob(os.path.join(os.path.dirname(trl.__file__), "chat_templates", "*.jinja")))}
names = list(found) if "--all" in sys.argv else [n for n in KEPT if n in found]
out = {"date": datetime.date.today().isoformat(), "tokens": TOKENS, "chats": [json.dumps({**c, "date_string": "26 Jul 2024"}, ensure_ascii=False) for c in CHATS],
       "templates": {n: {"source": found[n], "rendered": [render(found[n], c) for c in CHATS]} for n in names},
       "snippets": [[s, _compile_jinja_template(s).render(messages=[{"role": "user"}])] for s in SNIPPETS], "bad": BAD}
for bad in BAD:
    try:
        _compile_jinja_template(bad).render(messages=[{"role": "user"}])
        raise SystemExit(f"not bad: {bad}")
    except SystemExit:
        raise
    except Exception:
        pass
with open(sys.argv[1], "w", encoding="utf-8") as f:
    json.dump(out, f, ensure_ascii=False, separators=(",", ":"))
print(len(names), "templates,", len(CHATS), "conversations,", len(out["snippets"]), "snippets")
