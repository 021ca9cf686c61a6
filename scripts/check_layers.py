#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Keeps the rooms apart: reads every #include and compares it with the table below.

A room is one folder (ledger/log) = one library = one namespace. It may include itself and the rooms of its
row, nothing else; the rooms that are really included must form no loop; third-party libraries stay in the
rooms that are named for them. Three smaller checks ride along: the licence line, sources that no CMakeLists.txt
names, and two forms of co_await that g++ 12 compiles wrongly.

    scripts/check_layers.py              check the tree, exit 1 and one line per finding when something is wrong
    scripts/check_layers.py --self-test  check this checker
"""
import re
import sys
from pathlib import Path

# What each room may include, besides itself. ledger/base is open to all.
PURE_LEDGER = {"ledger/crypto", "ledger/eth"}  # orders are EIP-712 messages, so every pure room may name them
ROOMS = {
    "ledger/base": set(),
    "ledger/crypto": set(),
    "ledger/eth": {"ledger/crypto"},
    "ledger/books": set(),
    "ledger/rpc": PURE_LEDGER,
    "ledger/settlement": PURE_LEDGER | {"ledger/rpc"},
    "ledger/log": {"ledger/crypto"},
    "ledger/audit": PURE_LEDGER | {"ledger/rpc", "ledger/log", "ledger/settlement"},
    "ledger/signer": PURE_LEDGER | {"ledger/rpc"},  # json.hpp
    "marketplace/domain": PURE_LEDGER,
    "marketplace/matching": PURE_LEDGER | {"marketplace/domain"},
    "marketplace/engine": PURE_LEDGER | {"marketplace/domain", "marketplace/matching", "ledger/books", "ledger/log"},
    "marketplace/webhooks": {"ledger/crypto", "marketplace/domain"},
    "marketplace/storage": PURE_LEDGER | {
        "marketplace/domain", "marketplace/engine", "marketplace/webhooks", "ledger/settlement", "ledger/rpc",
    },
    "marketplace/wire": PURE_LEDGER | {"marketplace/domain", "ledger/rpc"},  # rpc: the JSON reader
    "marketplace/http": set(),
    "marketplace/api": PURE_LEDGER | {
        "marketplace/domain", "marketplace/wire", "marketplace/http", "marketplace/engine", "marketplace/webhooks",
        "ledger/rpc",
    },
    "marketplace/app": PURE_LEDGER | {
        "marketplace/domain", "marketplace/matching", "marketplace/engine", "marketplace/storage",
        "marketplace/webhooks", "marketplace/wire", "marketplace/http", "marketplace/api",
        "ledger/books", "ledger/log", "ledger/rpc", "ledger/settlement", "ledger/signer",
    },
    "marketplace/cli": PURE_LEDGER | {
        "marketplace/domain", "marketplace/wire", "marketplace/engine",
        "ledger/rpc", "ledger/settlement", "ledger/log", "ledger/audit",
    },
    "worker/kernels": set(),
    "worker/model": {"worker/kernels"},
    "worker/text": set(),
    "worker/executor": {"worker/kernels", "worker/model", "worker/text", "worker/sandbox", "worker/verify"},
    "worker/verify": {"worker/model", "ledger/crypto"},
    "worker/sandbox": set(),
    "worker/agent": PURE_LEDGER | {
        "worker/model", "worker/executor", "worker/sandbox", "worker/verify",
        "marketplace/domain", "marketplace/wire", "ledger/rpc", "ledger/settlement", "ledger/log",
    },
}

# Third-party headers: first part of the path, the library, and where it may be included. ".cpp" after a
# room: in its source files only, so that no header shows the library's types.
LIBRARIES = [
    (r"nlohmann/", "nlohmann_json", {
        "ledger/crypto.cpp", "ledger/rpc", "ledger/signer", "ledger/audit", "marketplace/wire", "marketplace/api",
        "marketplace/app", "marketplace/cli", "worker/agent", "worker/executor", "worker/model", "worker/text.cpp"}),
    (r"(torch|ATen|c10)/", "libtorch", {"worker/model.cpp", "worker/verify.cpp"}),
    (r"cuda", "CUDA", {"worker/kernels", "worker/model"}),
    (r"pcre2\.h", "PCRE2", {"worker/text.cpp"}),
    (r"unicode/", "ICU", {"worker/text.cpp"}),
    (r"sentencepiece", "SentencePiece", {"worker/text.cpp"}),
    (r"(SQLiteCpp/|sqlite3\.h)", "SQLite", {"marketplace/storage", "ledger/signer"}),
    (r"boost/(asio|beast)", "Asio", {
        "ledger/rpc", "ledger/signer", "marketplace/http", "marketplace/api", "marketplace/app",
        "marketplace/cli", "worker/agent"}),
    (r"(crypto\+\+|cryptopp)/", "Crypto++", {"ledger/crypto.cpp"}),
    (r"secp256k1", "libsecp256k1", {"ledger/crypto.cpp"}),
    (r"seccomp\.h", "libseccomp", {"worker/sandbox.cpp"}),
    (r"zlib\.h", "zlib", {"marketplace/api.cpp"}),
    (r"toml\+\+/", "toml++", {"marketplace/app", "worker/agent", "ledger/signer", "marketplace/cli"}),
    (r"CLI/", "CLI11", {"marketplace/app", "marketplace/cli", "worker/agent", "ledger/signer"}),
]

SOURCE_SUFFIXES = {".cpp", ".hpp", ".cu", ".cuh"}
LICENSED_SUFFIXES = SOURCE_SUFFIXES | {".sol", ".py", ".mjs", ".js", ".ts", ".tsx", ".sh", ".cmake", ".sql"}
SKIPPED_FOLDERS = {"build", "node_modules", "out", "cache", "broadcast", "dist", ".git", "__pycache__", "corpus"}
LINES_MAX = 600

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
COMMENT_OR_TEXT = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"([^()\\ ]{0,16})\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.DOTALL)


def room_of(path):
    """The room a file of the tree lies in, or None for files outside the three houses."""
    parts = Path(path).parts
    if len(parts) < 3 or parts[0] not in ("ledger", "marketplace", "worker"):
        return None
    return "/".join(parts[:2])


def blank_comments(text):
    """The text with comments and literals replaced by blanks of the same length; line numbers stay."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))
    # A digit separator (1'000) is no character literal.
    text = re.sub(r"(?<=[0-9a-fA-F])'(?=[0-9a-fA-F])", "_", text)
    return COMMENT_OR_TEXT.sub(blank, text)


def allowed_room(room, other):
    return other == room or other == "ledger/base" or other in ROOMS[room]


def check_includes(path, text, exists, edges):
    """Findings for the includes of one file; real room-to-room includes are added to `edges`."""
    room = room_of(path)
    findings = []
    if room is not None and room not in ROOMS:
        return [f"{path}: {room} is no room of the table in scripts/check_layers.py"]
    for match in INCLUDE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        bracket, target = match.groups()
        if bracket == '"':
            other = room_of(target)
            if not exists(target):
                findings.append(f"{path}:{line}: \"{target}\" is not a path from the repository root")
            elif room is None or other is None:
                if room is not None:
                    findings.append(f"{path}:{line}: {room} may not include {target}")
            elif not allowed_room(room, other):
                findings.append(f"{path}:{line}: {room} may not use {other} ({target})")
            elif other != room:
                edges.setdefault(room, set()).add(other)
            continue
        if room is None:
            continue
        for pattern, library, homes in LIBRARIES:
            if not re.match(pattern, target):
                continue
            if room in homes or (room + ".cpp" in homes and path.endswith((".cpp", ".cu"))):
                continue
            where = "headers of " if room + ".cpp" in homes else ""
            findings.append(f"{path}:{line}: {library} may not be used in {where}{room} (<{target}>)")
    return findings


def find_loop(edges):
    """One loop among the rooms as a list, or None."""
    state = {}
    for start in sorted(edges):
        stack = [(start, iter(sorted(edges.get(start, ()))))]
        trail = [start]
        if state.get(start):
            continue
        state[start] = 1
        while stack:
            room, others = stack[-1]
            other = next(others, None)
            if other is None:
                state[room] = 2
                stack.pop()
                trail.pop()
            elif state.get(other) == 1:
                return trail[trail.index(other):] + [other]
            elif not state.get(other):
                state[other] = 1
                trail.append(other)
                stack.append((other, iter(sorted(edges.get(other, ())))))
    return None


def skip_block(text, start):
    """The index just behind the bracket that closes the one at `start`."""
    pairs = {"(": ")", "[": "]", "{": "}"}
    depth = []
    for i in range(start, len(text)):
        if text[i] in pairs:
            depth.append(pairs[text[i]])
        elif text[i] in ")]}":
            if not depth or depth.pop() != text[i]:
                return i + 1
            if not depth:
                return i + 1
    return len(text)


def check_co_await(path, text):
    """g++ 12 copies or destroys twice what a co_await expression creates in braces or captures in a lambda."""
    code = blank_comments(text)
    findings = []
    for match in re.finditer(r"\bco_await\b", code):
        line = code.count("\n", 0, match.start()) + 1
        i, depth = match.end(), 0
        while i < len(code):
            c = code[i]
            before = code[:i].rstrip()[-1:]
            if c == "[" and not (before.isalnum() or before in ("_", ")", "]")):
                end = skip_block(code, i)
                if code[i:end].strip("[] \n"):
                    findings.append(f"{path}:{line}: capturing lambda inside a co_await expression (g++ 12); name it first")
                    break
                body = code.find("{", end)
                i = skip_block(code, body if body >= 0 else end)
                continue
            if c == "{":
                if depth == 0 and before == ")":
                    break  # the body of an if or a loop whose condition ended here
                findings.append(f"{path}:{line}: aggregate temporary inside a co_await expression (g++ 12); name it first")
                break
            if c in "([":
                depth += 1
            elif c in ")]":
                depth -= 1
            elif c == ";" and depth <= 0:
                break
            if depth < 0 and c == ")":
                break
            i += 1
    return findings


def tree_files(root):
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if path.is_file() and not SKIPPED_FOLDERS.intersection(relative.parts):
            yield relative.as_posix(), path


def check_tree(root):
    findings, warnings, edges = [], [], {}
    sources, cmake = [], {}
    for name, path in tree_files(root):
        if path.name == "CMakeLists.txt":
            cmake[Path(name).parent.as_posix()] = path.read_text(encoding="utf-8")
        if path.suffix not in LICENSED_SUFFIXES and path.name != "CMakeLists.txt":
            continue
        text = path.read_text(encoding="utf-8")
        if "SPDX-License-Identifier: Apache-2.0" not in "\n".join(text.split("\n", 4)[:4]):
            findings.append(f"{name}: no 'SPDX-License-Identifier: Apache-2.0' in its first lines")
        if path.suffix in LICENSED_SUFFIXES - {".sql"} and text.count("\n") > LINES_MAX:
            warnings.append(f"{name}: {text.count(chr(10))} lines, perhaps two rooms (limit {LINES_MAX})")
        if path.suffix in SOURCE_SUFFIXES:
            sources.append(name)
            findings += check_includes(name, text, lambda target: (root / target).is_file(), edges)
            findings += check_co_await(name, text)
    loop = find_loop(edges)
    if loop:
        findings.append("rooms include each other in a loop: " + " -> ".join(loop))
    for name in sources:
        if not name.endswith(".cpp"):
            continue
        folders = [parent.as_posix() for parent in Path(name).parents]
        texts = [cmake[folder] for folder in folders if folder in cmake]
        if texts and not any(re.search(rf"\b{re.escape(Path(name).name)}\b", text) for text in texts):
            findings.append(f"{name}: no CMakeLists.txt names it, so nothing builds it")
    return findings, warnings


def self_test():
    def includes(path, text):
        return check_includes(path, text, lambda target: "missing" not in target, {})

    failed = []

    def expect(what, actual, wanted):
        if bool(actual) != wanted:
            failed.append(f"{what}: {actual}")

    expect("down is open", includes("ledger/log/a.cpp", '#include "ledger/crypto/keccak.hpp"\n'), False)
    expect("up is shut", includes("ledger/log/a.cpp", '#include "marketplace/wire/a.hpp"\n'), True)
    expect("sideways is shut", includes("ledger/books/a.cpp", '#include "ledger/crypto/a.hpp"\n'), True)
    expect("base is open", includes("worker/sandbox/a.cpp", '#include "ledger/base/hex.hpp"\n'), False)
    expect("orders are messages", includes("marketplace/domain/a.hpp", '#include "ledger/eth/messages.hpp"\n'), False)
    expect("http knows no domain", includes("marketplace/http/a.cpp", '#include "marketplace/domain/order.hpp"\n'), True)
    expect("relative path", includes("ledger/log/a.cpp", '#include "missing.hpp"\n'), True)
    expect("unknown room", includes("ledger/attic/a.cpp", "#include <vector>\n"), True)
    expect("torch in its source", includes("worker/model/a.cpp", "#include <torch/torch.h>\n"), False)
    expect("torch in a header", includes("worker/model/a.hpp", "#include <torch/torch.h>\n"), True)
    expect("torch elsewhere", includes("worker/agent/a.cpp", "#include <torch/torch.h>\n"), True)
    expect("json in the books", includes("ledger/books/a.cpp", "#include <nlohmann/json.hpp>\n"), True)
    expect("tests may use all", includes("tests/unit/ledger/log/a.cpp", '#include "ledger/log/tree.hpp"\n'), False)
    expect("loop", find_loop({"a": {"b"}, "b": {"c"}, "c": {"a"}}), True)
    expect("no loop", find_loop({"a": {"b", "c"}, "b": {"c"}}), False)
    hazards = {
        "co_await f([&x] { return x; });": True,
        "co_await f([this](int a) { return a; });": True,
        "co_await f([](int a) { return a; });": False,
        "co_await f(Options{1, 2});": True,
        "co_await f({1, 2});": True,
        "auto r = co_await f(table[3], std::move(options));": False,
        "if (co_await f(a)) { g(); }": False,
        "while (!(co_await f(a))) {\n g([&] { h(); });\n}": False,
        "// co_await f([&] { });\nint a = 1'000;": False,
        "co_return co_await f(\"{\", std::move(a));": False,
    }
    for code, wanted in hazards.items():
        expect(f"hazard in {code!r}", check_co_await("a.cpp", code), wanted)
    for line in failed:
        print(f"self-test: {line}")
    print(f"check_layers self-test: {'failed' if failed else 'ok'}")
    return 1 if failed else 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    if sys.argv[1:]:
        print(__doc__)
        return 2
    findings, warnings = check_tree(Path(__file__).resolve().parent.parent)
    for line in warnings:
        print(f"warning: {line}")
    for line in findings:
        print(line)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
