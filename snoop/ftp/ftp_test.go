package ftp

import (
	"testing"

	"ntpac/snoop/snooptest"
)

func TestLaws(t *testing.T) { snooptest.Run(t, New(), snooptest.MayGuess()) }

func TestDataLaws(t *testing.T) {
	snooptest.Run(t, NewData(), snooptest.Folder("testdata/data"), snooptest.HeadCounts())
}

func FuzzSnoop(f *testing.F) { snooptest.Fuzz(f, New()) }

func FuzzData(f *testing.F) { snooptest.Fuzz(f, NewData(), snooptest.Folder("testdata/data")) }
