// SPDX-License-Identifier: Apache-2.0
#include "worker/text/chat_template.hpp"

#include "worker/text/limits.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

namespace {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::Result;
using worker::text::ChatTemplate;
using worker::text::Dict;
using worker::text::Value;

Result<std::string> render(std::string_view source, std::string_view context = "{}") {
    TRY_ASSIGN(const ChatTemplate chat, ChatTemplate::parse(source));
    TRY_ASSIGN(const Value value, worker::text::parse_json(context, 10'000));
    return chat.render(value);
}

std::string text(std::string_view source, std::string_view context = "{}") {
    const auto out = render(source, context);
    return out ? *out : out.error().message();
}

Error error(std::string_view source, std::string_view context = "{}") {
    const auto out = render(source, context);
    return out ? Error(ErrorCode::internal, *out) : out.error();
}

}  // namespace

TEST_CASE("chat_template: refuses what is no template, and names the line") {
    for (const char* source : {"{{",
                               "{%",
                               "{#",
                               "{{ }}",
                               "{{ a b }}",
                               "{% if %}{% endif %}",
                               "{% if a %}",
                               "{% endif %}",
                               "{% for x in y %}",
                               "{% for in y %}{% endfor %}",
                               "{{ ( }}",
                               "{{ [1, 2 }}",
                               "{{ 'a }}",
                               "{{ 1 + }}",
                               "{% set %}",
                               "{% set x %}",
                               "{% set a.b.c = 1 %}",
                               "{% macro %}{% endmacro %}",
                               "{{ a[] }}",
                               "{{ a[1 2] }}",
                               "{{ a[1:2:3:4] }}",
                               "{{ x | }}",
                               "{{ x is }}",
                               "{{ '\\ud800' }}",
                               "{{ 99999999999999999999 }}",
                               "{{ @ }}",
                               "{{ f(a=1, 2) }}",
                               "{% else %}",
                               "{{ '\\x4' }}",
                               "\xff"})
        CHECK_MESSAGE(error(source).code() == ErrorCode::data_invalid, source);
    CHECK(error("a\n\n{{ x }}\n{% if x %}{{ ! }}").detail().find("line 4") != std::string::npos);
    CHECK(error("a\n{{ 1 + 'x' }}").detail().find("line 2") != std::string::npos);
}

TEST_CASE("chat_template: names what it has not") {
    const auto names = [](std::string_view source, std::string_view part) {
        const Error refused = error(source);
        CHECK_MESSAGE(refused.code() == ErrorCode::unsupported, source);
        CHECK_MESSAGE(refused.detail().find(part) != std::string::npos, refused.detail());
        CHECK(refused.detail().find("line 1") != std::string::npos);
    };
    names("{% include 'x' %}", "include");
    names("{% extends 'x' %}", "extends");
    names("{% call x() %}{% endcall %}", "call");
    names("{% raw %}{% endraw %}", "raw");
    names("{% for x in y recursive %}{% endfor %}", "recursive");
    names("{{ 1 | urlencode }}", "urlencode");
    names("{{ 1 is escaped }}", "escaped");
    names("{{ strftime_now('%d') }}", "strftime_now");
    names("{{ lipsum() }}", "lipsum");
    names("{{ [].append(1) }}", "append");
    names("{{ 'a'.encode() }}", "encode");
    names("{{ ''.__class__() }}", "__class__");
    names("{{ f(*a) }}", "*");
}

TEST_CASE(
    "chat_template: what the template refuses is the request's fault, in the template's words") {
    const Error refused = error("{{ raise_exception('Roles must alternate') }}");
    CHECK(refused.code() == ErrorCode::invalid_request);
    CHECK(refused.detail() == "Roles must alternate");
}

TEST_CASE("chat_template: work, output and nesting have an end") {
    const auto limited = [](std::string_view source) {
        CHECK_MESSAGE(error(source).code() == ErrorCode::job_limit, source.substr(0, 80));
    };
    limited("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}");
    limited(
        "{% for a in range(1000) %}{% for b in range(1000) %}{{ 'xxxxxxxxxxxxxxxxxxxxxxxxxxxx' "
        "}}{% endfor %}{% endfor %}");
    limited("{{ range(1000000000) }}");
    limited("{{ 'x' * 1000000000000 }}");
    limited("{{ 'xx' * 9223372036854775807 }}");
    limited("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}");
    limited("{% macro f() %}{{ f() ~ f() }}{% endmacro %}{{ f() }}");
    limited(
        "{% set ns = namespace(s='x') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% "
        "endfor %}{{ ns.s }}");
    limited(
        "{% set ns = namespace(l=[]) %}{% for i in range(1000) %}{% set ns.l = [ns.l, ns.l] %}{% "
        "endfor %}");
    // Sixty levels of a list twice in itself: small in memory, endless to walk.
    const std::string twice =
        "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% "
        "endfor %}";
    limited(twice + "{{ ns.l }}");
    limited(twice + "{{ ns.l | tojson }}");
    limited(twice +
            "{% set ms = namespace(l=[1]) %}{% for i in range(60) %}{% set ms.l = [ms.l, ms.l] "
            "%}{% endfor %}{{ ns.l == ms.l }}");
    limited(std::string(worker::text::limits::kTemplateBytes + 1, 'x'));
    limited("{{ " + std::string(1000, '(') + "1" + std::string(1000, ')') + " }}");
    limited("{{ " + std::string(1000, '[') + std::string(1000, ']') + " }}");
    limited("{{ " + std::string(5000, '-') + "1 }}");
    std::string chain = "{{ 1";
    std::string nots = "{{ ";
    std::string ifs;
    std::string filters = "{{ 1";
    for (int i = 0; i < 1000; ++i) {
        chain += " + 1";
        nots += "not ";
        ifs += "{% if a %}";
        filters += "|int";
    }
    limited(chain + " }}");
    limited(nots + "1 }}");
    limited(ifs);
    limited(filters + " }}");
    // elif is no nesting
    std::string many = "{% if a %}";
    for (int i = 0; i < 1000; ++i)
        many += "{% elif b %}";
    CHECK(text(many + "{% else %}x{% endif %}") == "x");
}

TEST_CASE("chat_template: a namespace may name itself, and nothing is left behind") {
    CHECK(
        text("{% set a = namespace() %}{% set a.b = a %}{% set a.c = [a] %}{{ a.b.b.c[0].d }}x") ==
        "x");
}

TEST_CASE("chat_template: scopes are Jinja's") {
    CHECK(text("{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = 5 %}{{ x }}{% endfor %}{{ x "
               "}}") == "15151");
    CHECK(text("{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}") == "2");
    CHECK(text("{% set x = 1 %}{% macro f(a, b=x) %}{{ a }}{{ b }}{{ y }}{% endmacro %}{% for y in "
               "[7] %}{{ f(3) }}{% endfor %}") == "31");
    CHECK(text("{% for a, b in [[1, 2], [3, 4]] %}{{ a }}{{ b }};{% endfor %}") == "12;34;");
    CHECK(text("{% for x in [1, 2, 3] if x != 2 %}{{ loop.index }}{{ x }}{{ loop.last }} {% endfor "
               "%}") == "11False 23True ");
    CHECK(text("{% for x in [1, 2] %}{% for y in [1] %}{{ loop.index }}{% endfor %}{{ loop.index "
               "}}{% endfor %}") == "1112");
    CHECK(text("{% for x in [] %}a{% else %}b{% endfor %}") == "b");
}

TEST_CASE("chat_template: undefined values print nothing and have no members") {
    CHECK(text("[{{ a }}{{ a.b is defined }}]").find("line 1") != std::string::npos);
    CHECK(text("[{{ a }}{{ m.b }}{{ m['b'] }}{{ m.b is defined }}]", R"({"m":{}})") == "[False]");
    CHECK(text("{{ a is defined and a.b }}") == "False");
    CHECK(text("{{ none }} {{ true }} {{ 1.0 }} {{ 1e16 }} {{ 0.00001 }} {{ [1, 'a', none, {'b': "
               "\"it's\"}] }}") == "None True 1.0 1e+16 1e-05 [1, 'a', None, {'b': \"it's\"}]");
}

TEST_CASE("chat_template: numbers are Python's, and what does not fit is an error") {
    CHECK(text("{{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 1 == true }} {{ 1 < 2 < 3 "
               "}} {{ 3 > 2 > 2 }}") == "-4 2 3.5 1024 True True False");
    CHECK(error("{{ 9223372036854775807 + 1 }}").code() == ErrorCode::data_invalid);
    CHECK(error("{{ -9223372036854775807 - 2 }}").code() == ErrorCode::data_invalid);
    CHECK(error("{{ (-9223372036854775807 - 1) // -1 }}").code() == ErrorCode::data_invalid);
    CHECK(error("{{ 1 // 0 }}").code() == ErrorCode::data_invalid);
    CHECK(error("{{ 1 / 0 }}").code() == ErrorCode::data_invalid);
    CHECK(error("{{ 1 < 'a' }}").code() == ErrorCode::data_invalid);
    CHECK(text("{{ [1,2,3][9223372036854775807:] }}{{ [1,2,3][::9223372036854775807] }}{{ "
               "[1,2,3][-9223372036854775807:2] }}") == "[][1][1, 2]");
}

TEST_CASE("chat_template: white space around tags") {
    CHECK(text("  {% if true %}\n  x\n  {% endif %}\ny\n") == "  x\ny");
    CHECK(text("a  {{- 'b' -}}  c") == "abc");
    CHECK(text("a\n{%+ if true %} b{% endif +%}\nc") == "a\n b\nc");
    CHECK(text("{# one #}\n  {# two #}\nx\n\n") == "x\n");
    CHECK(text("a\r\nb{% if true %}\r\nc{% endif %}") == "a\nbc");
}
