import ctypes, os, sys
from counting import reached
own, other = sys.argv[1:]
ckpt = ctypes.CDLL(None)
known, count = None, 0
open("begun." + own, "w").close()
value = ctypes.create_string_buffer(16)
while not os.path.exists("stop"):
    restarts = ckpt.ckpt_restarts() if hasattr(ckpt, "ckpt_restarts") else -1
    if restarts != known and restarts >= 0:
        word = str(restarts).encode()
        assert ckpt.ckpt_publish(own.encode(), word, len(word)) == 0
        assert ckpt.ckpt_lookup(other.encode(), value, 16, 20000) == len(word), "nothing was told"
        assert value.raw[: len(word)] == word, (value.raw, word)
    if restarts != known:
        known = restarts
        open("told." + own, "w").close()
    count += 1
    if own == "one":
        reached(count)
    elif os.path.exists("count"):
        assert int(open("count").read()) > 0
