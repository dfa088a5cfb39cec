package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"ntpac/bench/traffic"
)

// memory shows that a whole run takes no more memory for a capture four times as long.
func memory(ctx context.Context, o *options, out io.Writer) error {
	if o.ntpac == "" {
		return errors.New("-memory needs -ntpac")
	}
	small := o.size
	fmt.Fprintln(out, "| capture | payload | CPU s | peak MB |")
	fmt.Fprintln(out, "| --- | --- | ---: | ---: |")
	for _, size := range []traffic.Size{small, 4 * small} {
		o.size = size
		if err := o.generate(ctx); err != nil {
			return err
		}
		for _, how := range []string{"copy", "reference"} {
			name := wholeName
			if how == "reference" {
				name = referenceName
			}
			one := *o
			one.n = 1
			c, err := inChild(ctx, &one, name)
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "| %s | %s | %.1f | %.0f |\n", filepath.Base(o.capture), how, c.CPU.Seconds(), float64(c.Peak)/1e6)
		}
	}
	return nil
}
