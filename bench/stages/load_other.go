//go:build !linux

package main

func loadAverage() float64 { return -1 }
