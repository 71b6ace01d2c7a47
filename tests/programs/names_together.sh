#!/bin/bash
# The same of two programs that one agent looks after.
agents=1 . "$(dirname "$0")/names.sh"
