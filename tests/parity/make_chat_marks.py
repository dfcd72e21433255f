"""What transformers finds marked by {% generation %} in the conversations of make_chat_templates.py.

usage: python tests/parity/make_chat_marks.py tests/parity/data/chat        (needs transformers; reads its templates.json)

marks.json: for each template of templates.json that marks anything, and each conversation that it renders, the marked
stretches as [first, last) bytes of the text in UTF-8.
"""
import json
import pathlib
import sys

from transformers.utils.chat_template_utils import render_jinja_template

folder = pathlib.Path(sys.argv[1])
golden = json.loads((folder / "templates.json").read_text(encoding="utf-8"))
out = {}
for name, template in golden["templates"].items():
    if "{% generation" not in template["source"] and "{%- generation" not in template["source"]:
        continue
    out[name] = []
    for chat, expected in zip(map(json.loads, golden["chats"]), template["rendered"], strict=True):
        if "error" in expected:
            out[name].append(None)
            continue
        messages = [{k: v for k, v in message.items() if v is not None} for message in chat.pop("messages")]
        tools = chat.pop("tools", None)
        texts, marks = render_jinja_template([messages], tools=tools, chat_template=template["source"],
                                             return_assistant_tokens_mask=True, **golden["tokens"], **chat)
        assert texts[0] == expected["text"], name
        size = lambda count: len(texts[0][:count].encode())
        out[name].append([[size(begin), size(end)] for begin, end in marks[0]])
(folder / "marks.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")
print({name: sum(len(marks or []) for marks in all_marks) for name, all_marks in out.items()})
