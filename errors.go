package ntpac

import (
	"errors"
	"fmt"
)

// What callers tell apart, with errors.Is. Everything else is an ordinary failure.
var (
	// ErrUsage: the user asked for something that makes no sense; exit status 2.
	ErrUsage = errors.New("usage")
	// ErrDamaged: the input was damaged or cut short, and what it held was read; exit status 3.
	ErrDamaged = errors.New("damaged input")
	// ErrNotCapture: the file is none of the capture formats.
	ErrNotCapture = errors.New("not a capture file")
	// ErrNotFound: the store has no such thing.
	ErrNotFound = errors.New("not found")
	// ErrFenced: a writer of an older epoch was refused.
	ErrFenced = errors.New("fenced: a newer owner has taken over")
	// ErrNoPayload: the payload is kept by reference and its source is gone or has changed.
	ErrNoPayload = errors.New("payload not available")
)

// Usagef makes an error that ends with exit status 2.
func Usagef(format string, a ...any) error {
	return &usageError{fmt.Sprintf(format, a...)}
}

type usageError struct{ msg string }

func (e *usageError) Error() string        { return e.msg }
func (e *usageError) Is(target error) bool { return target == ErrUsage }
