#!/bin/bash
# The Erlang virtual machine with processes, a TCP server, timers and a port program.
. "$(dirname "$0")/common.sh"
have() { need erl erlc; }
run() {
    cat > job.erl <<'L'
-module(job).
-export([main/0]).
main() ->
    {ok, L} = gen_tcp:listen(0, [{active, false}, {packet, line}, {ip, {127,0,0,1}}]),
    {ok, P} = inet:port(L),
    spawn_link(fun() -> {ok, S} = gen_tcp:accept(L), echo(S) end),
    {ok, C} = gen_tcp:connect({127,0,0,1}, P, [{active, false}, {packet, line}]),
    loop(C, 1).
echo(S) -> {ok, D} = gen_tcp:recv(S, 0), ok = gen_tcp:send(S, D), echo(S).
loop(C, N) ->
    case filelib:is_file("stop") of true -> halt(0); false -> ok end,
    Me = self(),
    [spawn(fun() -> Me ! I * 2 end) || I <- lists:seq(1, 100)],
    10100 = lists:sum([receive X -> X end || _ <- lists:seq(1, 100)]),
    T = integer_to_list(N) ++ "\n",
    ok = gen_tcp:send(C, T),
    {ok, T} = gen_tcp:recv(C, 0),
    case N rem 20 of 0 -> "hi\n" = os:cmd("echo hi"); _ -> timer:sleep(1) end,
    ok = file:write_file("count.new", integer_to_list(N)),
    ok = file:rename("count.new", "count"),
    loop(C, N + 1).
L
    erlc job.erl
    exec erl -noshell -noinput -s job main
}
phase "$1"
