package main

import (
	"os"
	"strconv"
	"strings"
)

// loadAverage is how many processes wanted to run in the last minute; -1 where that is not known.
func loadAverage() float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return -1
	}
	first, _, _ := strings.Cut(string(b), " ")
	v, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return -1
	}
	return v
}
