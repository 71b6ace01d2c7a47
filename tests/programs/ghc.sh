#!/bin/bash
# A Haskell program with threads, MVars and delays.
. "$(dirname "$0")/common.sh"
have() { need ghc; }
run() {
    cat > job.hs <<'H'
import Control.Concurrent
import Control.Monad
import System.Directory
main :: IO ()
main = loop 1 where
  loop :: Int -> IO ()
  loop n = do
    end <- doesFileExist "stop"
    unless end $ do
      vars <- forM [1 .. 20] $ \i -> do { v <- newEmptyMVar; _ <- forkIO (putMVar v $! sum [1 .. i * 100]); return v }
      got <- mapM takeMVar vars
      when (got /= [sum [1 .. i * 100] | i <- [1 .. 20 :: Int]]) $ error "sum"
      threadDelay 500
      writeFile "count.new" (show n)
      renameFile "count.new" "count"
      loop (n + 1)
H
    ghc -v0 -threaded -rtsopts job.hs
    exec ./job +RTS -N2
}
phase "$1"
