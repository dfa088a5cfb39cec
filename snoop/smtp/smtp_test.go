package smtp

import (
	"testing"

	"ntpac/snoop/snooptest"
)

func TestLaws(t *testing.T) { snooptest.Run(t, New(), snooptest.MayGuess()) }

func FuzzSnoop(f *testing.F) { snooptest.Fuzz(f, New(), snooptest.MayGuess()) }
