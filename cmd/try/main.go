package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"syscall"
	"time"

	"ntpac"
	"ntpac/artifact"
	"ntpac/node"
	"ntpac/snoop/all"
	"ntpac/store/embedded"
)

func main() {
	w := flag.Int("w", 2, "")
	prof := flag.String("prof", "", "")
	mem := flag.String("mem", "", "")
	dump := flag.String("dump", "", "")
	nosnoop := flag.Bool("nosnoop", false, "")
	flag.Parse()
	runtime.GOMAXPROCS(*w)
	dir, _ := os.MkdirTemp("", "try")
	defer os.RemoveAll(dir)
	st, err := embedded.Open(dir, embedded.Options{})
	if err != nil {
		panic(err)
	}
	if *prof != "" {
		f, _ := os.Create(*prof)
		pprof.StartCPUProfile(f)
	}
	ctx := context.Background()
	t := time.Now()
	var p node.Progress
	sum, err := node.Run(ctx, ctx, st, flag.Args(), node.Options{Workers: *w, NoSnoop: *nosnoop, Snoopers: all.Snoopers()}, &p)
	pprof.StopCPUProfile()
	var ru syscall.Rusage
	syscall.Getrusage(0, &ru)
	fmt.Fprintln(os.Stderr, "wall", time.Since(t), "user", time.Duration(ru.Utime.Nano()), "sys", time.Duration(ru.Stime.Nano()), "rss MB", ru.Maxrss>>10, err)
	if *mem != "" {
		f, _ := os.Create(*mem)
		pprof.Lookup("allocs").WriteTo(f, 0)
		f.Close()
	}
	j, _ := json.MarshalIndent(sum, "", " ")
	fmt.Fprintln(os.Stderr, string(j))
	if *dump != "" {
		f, _ := os.Create(*dump)
		bw := bufio.NewWriter(f)
		for c, err := range st.Conversations(ctx, &ntpac.Query{Case: "default"}) {
			if err != nil {
				panic(err)
			}
			bw.Write(artifact.AppendConversation(nil, c, nil))
			bw.WriteByte('\n')
		}
		for a, err := range st.Artifacts(ctx, &ntpac.Query{Case: "default"}) {
			if err != nil {
				panic(err)
			}
			bw.Write(artifact.AppendArtifact(nil, a))
			bw.WriteByte('\n')
		}
		bw.Flush()
	}
	st.Close()
}
