#!/bin/bash
# Elixir with a supervised GenServer, tasks, an Agent, ETS and a port program.
. "$(dirname "$0")/common.sh"
have() { need elixir; }
run() {
    cat > job.exs <<'L'
defmodule Count do
  use GenServer
  def init(n), do: {:ok, n}
  def handle_call(:next, _, n), do: {:reply, n + 1, n + 1}
end
{:ok, _} = Supervisor.start_link([%{id: Count, start: {GenServer, :start_link, [Count, 0, [name: Count]]}}], strategy: :one_for_one)
:ets.new(:t, [:named_table, :public])
defmodule Job do
  def loop do
    if File.exists?("stop"), do: System.halt(0)
    n = GenServer.call(Count, :next)
    s = 1..50 |> Task.async_stream(fn i -> i * i end) |> Enum.reduce(0, fn {:ok, x}, a -> a + x end)
    42925 = s
    :ets.insert(:t, {:n, n})
    [{:n, ^n}] = :ets.lookup(:t, :n)
    if rem(n, 20) == 0, do: {"hi\n", 0} = System.cmd("echo", ["hi"])
    File.write!("count.new", Integer.to_string(n))
    File.rename!("count.new", "count")
    loop()
  end
end
Job.loop()
L
    exec elixir job.exs
}
phase "$1"
