"""Guests that do not end, dig too deep, take too much, trap wherever they can, or flood their host."""

from __future__ import annotations

import struct

from dataflare_nb.errors import WasmMemoryLimit, WasmTimeout, WasmTrap

from ..asking import call, data, i64
from ..test_wasi import subscription
from .attack import Attack

FOREVER = "(loop $again (br $again))"
TIME = "ran longer than its 150 ms"
FUNCTIONS = ("df_abi_version", "df_formats", "df_alloc", "df_reset", "plugin_init", "_initialize", "start")
ONCE = ("df_abi_version", "df_formats", "plugin_init", "_initialize", "start")
"""Called once for an instance, so that there is no second time on the same one."""


def _loops() -> list[Attack]:
    attacks = [
        Attack(name="endless loop", tries="never to return", error=WasmTimeout, match=TIME, strike=FOREVER),
        Attack(
            name="endless loop in df_last_error",
            tries="never to say what went wrong",
            error=WasmTimeout,
            match=TIME,
            strike="(return (i32.const -5))",
            inside={"df_last_error": FOREVER},
        ),
    ]
    return attacks + [
        Attack(
            name=f"endless loop in {name}",
            tries="never to be ready",
            error=WasmTimeout,
            match=TIME,
            inside={name: FOREVER},
            again=name not in ONCE,
        )
        for name in FUNCTIONS
    ]


def _loop_of(statement: str) -> str:
    return f"(loop $again {statement} (br $again))"


SLEEP = data(256, subscription(10**12))
VECTOR = data(256, struct.pack("<II", 0, 65536))
SLOW = [
    Attack(
        name="calls in calls without a loop",
        tries="to run for ever by branching calls alone",
        error=WasmTimeout,
        match=TIME,
        strike="(drop (call $many (i32.const 60)))",
        extra="""(func $many (param i32) (result i32) (if (result i32) (i32.lt_s (local.get 0) (i32.const 2))
            (then (i32.const 1)) (else (i32.add (call $many (i32.sub (local.get 0) (i32.const 1)))
            (call $many (i32.sub (local.get 0) (i32.const 2)))))))""",
    ),
    Attack(
        name="tail of indirect calls",
        tries="to run for ever through a table",
        error=WasmTimeout,
        match=TIME,
        strike=_loop_of("(call_indirect (i32.const 0))"),
        extra="(func $nothing) (table 1 funcref) (elem (i32.const 0) $nothing)",
    ),
    Attack(
        name="bulk fill of all memory",
        tries="to hide in one long instruction",
        error=WasmTimeout,
        match=TIME,
        strike=_loop_of("(memory.fill (i32.const 0) (i32.const 1) (i32.const 33554432))"),
        memory="512",
    ),
    Attack(
        name="bulk copy of all memory",
        tries="to hide in one long instruction",
        error=WasmTimeout,
        match=TIME,
        strike=_loop_of("(memory.copy (i32.const 0) (i32.const 1) (i32.const 33554431))"),
        memory="512",
    ),
    Attack(
        name="growing by nothing",
        tries="to stay in the runtime",
        error=WasmTimeout,
        match=TIME,
        strike=_loop_of("(drop (memory.grow (i32.const 0)))"),
    ),
    Attack(
        name="sleep",
        tries="to sleep beyond its time",
        error=WasmTimeout,
        match=TIME,
        strike=f"(drop {call('poll_oneoff', 256, 512, 1, 64)})",
        imports=("poll_oneoff",),
        extra=SLEEP,
    ),
    Attack(
        name="sleep after sleep",
        tries="to sleep beyond its time, a little at once",
        error=WasmTimeout,
        match=TIME,
        strike=_loop_of(f"(drop {call('poll_oneoff', 256, 512, 1, 64)})"),
        imports=("poll_oneoff",),
        extra=data(256, subscription(1_000_000)),
    ),
    Attack(
        name="yield after yield",
        tries="to stay in the host",
        error=WasmTimeout,
        match=TIME,
        strike=_loop_of(f"(drop {call('sched_yield')})"),
        imports=("sched_yield",),
    ),
    Attack(
        name="flood of messages",
        tries="to drown the log",
        error=WasmTimeout,
        match=TIME,
        strike=_loop_of(call("host_log", 1, 0, 65536)),
        imports=("host_log",),
    ),
    Attack(
        name="flood of counters",
        tries="to fill the host with names",
        error=WasmTimeout,
        match=TIME,
        strike=_loop_of(
            f"(i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))) "
            f"{call('host_counter', 0, 4, i64(1))}"
        ),
        imports=("host_counter",),
    ),
    Attack(
        name="flood of random numbers",
        tries="to stay in the host",
        error=WasmTimeout,
        match=TIME,
        strike=_loop_of(f"(drop {call('host_random')})"),
        imports=("host_random",),
    ),
    Attack(
        name="flood of random bytes",
        tries="to stay in the host",
        error=WasmTimeout,
        match=TIME,
        strike=_loop_of(f"(drop {call('random_get', 0, 65536)})"),
        imports=("random_get",),
    ),
    Attack(
        name="flood of settings",
        tries="to stay in the host",
        error=WasmTimeout,
        match=TIME,
        strike=_loop_of(f"(drop {call('host_config', 0, 65536)})"),
        imports=("host_config",),
    ),
    Attack(
        name="flood of printing",
        tries="to drown the log through WASI",
        error=WasmTimeout,
        match=TIME,
        strike=_loop_of(f"(drop {call('fd_write', 1, 256, 1, 64)})"),
        imports=("fd_write",),
        extra=VECTOR,
    ),
]

GAVE_UP = "gave up"
TRAPS = [
    *(
        Attack(
            name=f"trap in {name}",
            tries="to break the host where it does not expect it",
            error=WasmTrap,
            match=GAVE_UP,
            inside={name: "unreachable"},
            again=name not in ONCE,
        )
        for name in FUNCTIONS
    ),
    Attack(name="trap in process_data", tries="to break the host", error=WasmTrap, match=GAVE_UP, strike="unreachable"),
    Attack(
        name="trap in df_last_error",
        tries="to break the host while it asks what went wrong",
        error=WasmTrap,
        match=GAVE_UP,
        strike="(return (i32.const -5))",
        inside={"df_last_error": "unreachable"},
    ),
    Attack(
        name="recursion",
        tries="to run the thread out of its stack",
        error=WasmTrap,
        match="ran out of stack",
        strike="(drop (call $deep (i32.const 0)))",
        extra="(func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (local.get 0))))",
    ),
    Attack(
        name="recursion with wide frames",
        tries="to jump over the guard of the stack",
        error=WasmTrap,
        match="ran out of stack",
        strike="(drop (call $wide (i32.const 0)))",
        extra=f"""(func $wide (param i32) (result i32) (local {"i64 " * 4000})
            {" ".join(f"(local.set {i} (i64.extend_i32_u (local.get 0)))" for i in range(1, 4001, 40))}
            (i32.add (i32.wrap_i64 (local.get 1)) (call $wide (i32.add (local.get 0) (i32.const 1)))))""",
    ),
    Attack(
        name="recursion through the start function",
        tries="to run out of stack before it is an instance",
        error=WasmTrap,
        match="ran out of stack",
        inside={"start": "(call $down)"},
        extra="(func $down (call $down))",
        again=False,
    ),
    Attack(
        name="null function",
        tries="to call nothing",
        error=WasmTrap,
        match="called a null function pointer",
        strike="(call_indirect (i32.const 0))",
        extra="(table 1 funcref)",
    ),
    Attack(
        name="function of another type",
        tries="to call with the wrong arguments",
        error=WasmTrap,
        match="called a function pointer of another type",
        strike="(call_indirect (i32.const 0))",
        extra="(func $one (param i64)) (table 1 funcref) (elem (i32.const 0) $one)",
    ),
    Attack(
        name="function outside the table",
        tries="to call an address of its choice",
        error=WasmTrap,
        match="called outside its function table",
        strike="(call_indirect (i32.const -1))",
        extra="(table 1 funcref)",
    ),
    Attack(
        name="division by zero",
        tries="to raise a signal",
        error=WasmTrap,
        match="divided an integer by zero",
        strike="(drop (i32.div_s (i32.const 1) (i32.const 0)))",
    ),
    Attack(
        name="division that overflows",
        tries="to raise a signal",
        error=WasmTrap,
        match="overflowed in an integer division",
        strike="(drop (i32.div_s (i32.const -2147483648) (i32.const -1)))",
    ),
    Attack(
        name="conversion of what is no number",
        tries="to raise a signal",
        error=WasmTrap,
        match="converted a float",
        strike="(drop (i32.trunc_f64_s (f64.const nan)))",
    ),
    Attack(
        name="exit",
        tries="to end the process",
        error=WasmTrap,
        match=r"ended itself with exit\(7\)",
        strike=call("proc_exit", 7),
        imports=("proc_exit",),
    ),
    Attack(
        name="exit in the start function",
        tries="to end the process before it is an instance",
        error=WasmTrap,
        match=r"ended itself with exit\(0\)",
        inside={"start": call("proc_exit", 0)},
        imports=("proc_exit",),
        again=False,
    ),
    Attack(
        name="poisoned state",
        tries="to leave an instance that fails for the next user",
        error=WasmTrap,
        match=GAVE_UP,
        strike="(i32.store (i32.const 8) (i32.const 1)) unreachable",
        always="(if (i32.load (i32.const 8)) (then unreachable))",
    ),
]

OUT = "read or wrote outside its memory"
MEMORY = [
    Attack(
        name="memory bomb",
        tries="to take all memory there is",
        error=WasmMemoryLimit,
        match="ran out of memory .*max_memory is 2097152",
        strike="(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) (return (i32.const -4))",
        policy={"max_memory": "2MiB"},
    ),
    Attack(
        name="memory bomb at once",
        tries="to take four gigabytes in one step",
        error=WasmMemoryLimit,
        match="ran out of memory",
        strike="(if (i32.eq (memory.grow (i32.const 65534)) (i32.const -1)) (then (return (i32.const -4))))",
    ),
    Attack(
        name="table bomb",
        tries="to take memory through a table",
        error=WasmMemoryLimit,
        match="ran out of memory",
        strike="""(loop $more (br_if $more (i32.ne (table.grow (ref.null func) (i32.const 10000)) (i32.const -1))))
            (return (i32.const -4))""",
        extra="(table 1 funcref)",
    ),
    *(
        Attack(name=name, tries="to reach the host's memory", error=WasmTrap, match=OUT, strike=strike, extra=extra)
        for name, strike, extra in [
            ("load outside", "(drop (i32.load (i32.const -8)))", ""),
            ("load with a far offset", "(drop (i64.load offset=4294967290 (i32.const -1)))", ""),
            ("store outside", "(i64.store (i32.const 131070) (i64.const -1))", ""),
            ("fill outside", "(memory.fill (i32.const 131000) (i32.const 1) (i32.const 200))", ""),
            ("copy outside", "(memory.copy (i32.const 0) (i32.const 131000) (i32.const 200))", ""),
            ("init outside", "(memory.init $d (i32.const 131071) (i32.const 0) (i32.const 2))", '(data $d "ab")'),
            ("init beyond the data", "(memory.init $d (i32.const 0) (i32.const 1) (i32.const 2))", '(data $d "ab")'),
            ("vector load outside", "(drop (v128.load (i32.const 131060)))", ""),
        ]
    ),
]

RUNNING = (*_loops(), *SLOW, *TRAPS, *MEMORY)
