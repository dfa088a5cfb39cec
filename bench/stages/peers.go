package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// peer is another program that does part of the work.
type peer struct {
	name string
	args func(dir, file string) []string // the command, without the program
	find func(ctx context.Context, dir string) (string, error)
}

// Names of the peers to which stages are held.
const (
	gopacket    = "gopacket reassembly"
	gopacketSum = "gopacket reassembly + SHA-256"
	tshark      = "tshark, exporting objects"
	tcpflow     = "tcpflow, to files"
)

var peers = []peer{
	{gopacket, func(_, file string) []string { return []string{file} }, buildGopacket},
	{gopacketSum, func(_, file string) []string { return []string{"-sum", file} }, buildGopacket},
	{tcpflow, func(dir, file string) []string { return []string{"-o", filepath.Join(dir, "tcpflow"), "-r", file} }, installed("tcpflow")},
	{tshark, func(dir, file string) []string {
		args := []string{"-n", "-q", "-o", "tcp.reassemble_out_of_order:TRUE", "-r", file}
		for _, kind := range []string{"http", "imf", "smb", "ftp-data"} {
			args = append(args, "--export-objects", kind+","+filepath.Join(dir, "objects-"+kind))
		}
		return args
	}, installed("tshark")},
}

func installed(name string) func(context.Context, string) (string, error) {
	return func(context.Context, string) (string, error) { return exec.LookPath(name) }
}

func buildGopacket(ctx context.Context, dir string) (string, error) {
	bin := filepath.Join(dir, "gopacketpeer")
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	out, err := exec.CommandContext(ctx, "go", "build", "-o", bin, "ntpac/bench/gopacketpeer").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building the gopacket peer: %w: %s", err, out)
	}
	return bin, nil
}

// run measures the peer on a capture, best of n.
func (p *peer) run(ctx context.Context, o *options, dir string, n int) (best cost, err error) {
	bin, err := p.find(ctx, dir)
	if err != nil {
		return best, err
	}
	for i := range n {
		work, err := os.MkdirTemp(o.tmp, "ntpac-peer-")
		if err != nil {
			return best, err
		}
		cmd := exec.CommandContext(ctx, bin, p.args(work, o.capture)...)
		cmd.Env = append(os.Environ(), fmt.Sprint("GOMAXPROCS=", o.procs))
		start := time.Now()
		out, err := cmd.CombinedOutput()
		wall := time.Since(start)
		if err := os.RemoveAll(work); err != nil {
			return best, err
		}
		if err != nil {
			return best, fmt.Errorf("%s: %w: %.300s", p.name, err, out)
		}
		ps := cmd.ProcessState
		c := cost{CPU: ps.UserTime() + ps.SystemTime(), Wall: wall, Peak: peakOf(ps)}
		if i == 0 || c.CPU < best.CPU {
			best = c
		}
	}
	return best, nil
}
