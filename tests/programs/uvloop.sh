#!/bin/bash
# Python's asyncio on uvloop (libuv): the job of asyncio.sh.
py=/usr/bin/python3 loop=uvloop
. "$(dirname "$0")/asyncio.sh"
