//go:build !unix

package main

import (
	"errors"
	"os"
	"time"
)

func cpuTime() time.Duration { return 0 }

func peakMemory() int64 { return 0 }

func peakOf(*os.ProcessState) int64 { return 0 }

func mapFile(string) ([]byte, error) {
	return nil, errors.New("the benchmark measures processes as Unix counts them")
}
