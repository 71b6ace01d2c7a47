#!/bin/bash
# An OCaml byte-code program with lists and a pipe to a child.
. "$(dirname "$0")/common.sh"
have() { need ocaml; }
run() {
    cat > job.ml <<'M'
let () =
  let n = ref 0 in
  while not (Sys.file_exists "stop") do
    incr n;
    let l = List.init 2000 (fun i -> i * !n) in
    assert (List.fold_left (+) 0 (List.sort compare (List.rev l)) = 1999000 * !n);
    if !n mod 20 = 0 then assert (Sys.command "true" = 0);
    let f = open_out "count.new" in
    output_string f (string_of_int !n); close_out f; Sys.rename "count.new" "count"
  done
M
    exec ocaml job.ml
}
phase "$1"
