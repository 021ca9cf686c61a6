// SPDX-License-Identifier: Apache-2.0
// Chat templates with the constructs of the model families' own, written for this test, and the messages they are
// rendered with. The families' published templates come with their vocabularies from npm.

export const templates = {
  chatml: `{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are helpful.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`,
  llama2: `{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}`,
  blocks: `{# a comment #}
{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if messages and messages[0].role == "system" %}
    {%- set system_message = messages[0]["content"]|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
<|start_header_id|>system<|end_header_id|>

Today Date: {{ date_string }}
{% if tools is not none and tools %}
    {% for tool in tools %}
        {{ tool | tojson(indent=4) }}
    {% endfor %}
{% endif %}
{{ system_message ~ "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("only one tool call") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}" }}
        {{- "<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
`,
  namespaces: `{%- set ns = namespace(multi_step_tool=true, last=messages|length - 1, index=0) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool>') and message.content.endswith('</tool>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{{ ns.last }} {{ 'many' if ns.multi_step_tool else 'one' }}
{%- for message in messages %}
    {%- if message.content is string %}{%- set content = message.content %}{%- else %}{%- set content = '' %}{%- endif %}
    {%- if '</think>' in content %}
        {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
        {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
[{{ thought }}]
    {%- endif %}
    {%- if loop.index0 > ns.last or loop.last %}last {% endif -%}
    {{ message.role|upper }}: {{ content | replace('a', 'A') }}{{ '' if loop.last else ', ' }}
    {%- if loop.previtem and loop.previtem.role == message.role %} again{% endif %}
    {%- set ns.index = ns.index + 1 %}
{%- endfor %}
{{ ns.index }}`,
  macros: `{%- macro header(role, mark='#', end=none) -%}
  {{ mark }}{{ role | capitalize }}{% if end is not none %}{{ end }}{% endif %}
{%- endmacro -%}
{%- macro twice(text) %}{{ header(text) }}+{{ header(text, mark='=', end='!') }}{% endmacro -%}
{% for message in messages if message.role != 'system' %}
{{ twice(message.role) }} {{ loop.index }}/{{ loop.length }}
  {% for part in (message.content.split(' ') if message.content is string else []) %}
  {%- if part == '' %}{% continue %}{% endif %}
  {%- if loop.index0 >= 5 %}{% break %}{% endif %}
<{{ part | trim }}>
  {%- else %}
nothing
  {%- endfor %}
{% else %}
no messages
{% endfor %}`,
  filters: `{{ [1, 2, 3] | join('-') }} {{ messages | map(attribute='role') | join(',') }} {{ messages | selectattr('role', 'equalto', 'user') | list | length }}
{{ messages | rejectattr('role', 'equalto', 'user') | map(attribute='role') | unique | join('/') }}
{{ missing | default('none given') }} {{ '' | default('empty', true) }} {{ missing is defined }} {{ none is none }}
{{ 'Hello World' | lower | title }} {{ "a'b" + 'c"d' }} {{ 7 // 2 }} {{ 7 % 3 }} {{ 2 * 3 + 4 }} {{ 10 - 2 - 3 }} {{ -5 | abs }}
{{ 'abc'[1] }} {{ 'abcdef'[1:4] }} {{ 'abcdef'[-2:] }} {{ 'abc'[::-1] }} {{ [1,2,3][-1] }} {{ (1 < 2) and not (2 < 1) or false }}
{{ {'a': 1, 'b': [true, none, 'x\\n"é']} | tojson }} {{ {'a': {'b': []}, 'c': {}} | tojson(indent=2) }}
{% for key, value in {'x': 1, 'y': 2}.items() %}{{ key }}={{ value }};{% endfor %}
{% for item in {'z': 26, 'a': 1} | dictsort %}{{ item[0] }}{{ item[1] }}{% endfor %}
{{ 'x' in 'xyz' }} {{ 'q' not in ['a', 'b'] }} {{ 'role' in messages[0] }} {{ messages[0].get('nothing', 'fallback') }}
{{ range(3) | list | tojson }} {% for i in range(1, 10, 3) %}{{ i }} {% endfor %}
{{ 3 is odd }} {{ 4 is even }} {{ 9 is divisibleby 3 }} {{ 'a' is string }} {{ 1 is number }} {{ [] is iterable }} {{ {} is mapping }}
{{ ('a' if 1 == 1.0 else 'b') ~ 5 }} {{ 1 == '1' }} {{ 'line1\\nline2' | indent(2) }} {{ "tab\\there" }}
{%- set a, b = 1, 'two' %} {{ a }}{{ b }} {% set block %}in {{ a }} block{% endset %}{{ block | upper }}
`,
  spaces: "  {% if true %}  \n  x  \n  {% endif %}\n\n {{- 'a' -}} \n b {%- if true -%}  c {%+ if true %}\n d{% endif %}{% endif +%}\n  {# note #}\n e {#- note -#} f\n{% set x = 1 %}\n\t{% set y = 2 %}   \ng\n\n",
};

const texts = ["", " ", "Hi", "  padded \n", "Grüße, 世界 👩🏽‍🚀 e\u0301", "<|im_end|> [INST] {{ messages }} {% if %}", "a\tb\r\nc", "\"quoted\" \\ 'single' </tag> & <",
  "<think>\nlong\nthought\n</think>\n\nanswer", "<tool>x</tool>", "line\n\n\nlines", "\u0001x\u001fx", "x".repeat(500)];

const tools = [{ type: "function", function: { name: "get_weather", description: "Weather \"now\" in é\n", parameters: {
  type: "object", properties: { city: { type: "string", enum: ["Köln", "東京"] }, days: { type: "integer", default: 3 }, exact: { type: "number", minimum: 0.5 } }, required: ["city"] } } }];

/** A random conversation with everything a template may look at. */
export function random_context(random) {
  const pick = (from) => from[Math.floor(random() * from.length)];
  const messages = [];
  if (random() < 0.5) messages.push({ role: "system", content: pick(texts) });
  const turns = Math.floor(random() * 5);
  for (let i = 0; i < turns; ++i) {
    messages.push({ role: "user", content: pick(texts) });
    if (random() < 0.3) {
      const call = { id: "call12345", type: "function", function: { name: "get_weather", arguments: { city: pick(texts), days: 2, list: [1, null, true] } } };
      messages.push({ role: "assistant", content: pick(["", pick(texts)]), tool_calls: [call] });
      messages.push({ role: "tool", tool_call_id: "call12345", name: "get_weather", content: pick(texts) });
    }
    if (random() < 0.9) messages.push({ role: "assistant", content: pick(texts), ...(random() < 0.2 ? { reasoning_content: pick(texts) } : {}) });
  }
  if (messages.length === 0) messages.push({ role: "user", content: pick(texts) });
  return { messages, tools: random() < 0.4 ? tools : null, add_generation_prompt: random() < 0.5, bos_token: "<s>", eos_token: "</s>",
    ...(random() < 0.3 ? { enable_thinking: random() < 0.5 } : {}) };
}
