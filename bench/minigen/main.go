// Minigen writes a small capture that looks like a network's, of any size, for benchmarks and tests.
//
//	go run ./bench/minigen [-size 64M] [-seed 1] [-split] -o FILE
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"ntpac/bench/traffic"
)

func main() {
	size := traffic.Size(64 << 20)
	flag.Var(&size, "size", "bytes of the capture; K, M and G are 1024-fold steps")
	seed := flag.Uint64("seed", 1, "the same seed and size give the same bytes")
	out := flag.String("o", "minigen.pcap", "the capture to write")
	split := flag.Bool("split", false, "also write the clients' packets to FILE.up.pcap and the servers' to FILE.down.pcap")
	flag.Parse()
	st, err := write(*out, *split, traffic.Options{Size: int64(size), Seed: *seed})
	if err != nil {
		fmt.Fprintln(os.Stderr, "minigen:", err)
		os.Exit(1)
	}
	fmt.Printf("%s: %d bytes, %d packets, %d conversations\n", *out, st.Bytes, st.Packets, st.Conversations)
}

func write(path string, split bool, o traffic.Options) (st traffic.Stats, err error) {
	names := []string{path}
	if split {
		names = append(names, path+".up.pcap", path+".down.pcap")
	}
	var w [3]io.Writer
	for i, n := range names {
		f, failed := os.Create(n)
		if failed != nil {
			return st, failed
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		w[i] = f
	}
	return traffic.Write(traffic.Capture{Whole: w[0], Up: w[1], Down: w[2]}, o)
}
