package embedded

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"ntpac"
	"ntpac/store/row"
)

// Check reads everything of a case again: each row, each segment record with its checksums, and the
// chain of the evidence log. What is wrong is reported, one line each; checked counts what was read.
// The error is for what kept it from reading.
func (s *Store) Check(ctx context.Context, name string, report func(problem string)) (checked int64, err error) {
	if s.lookup(name) == nil {
		return 0, fmt.Errorf("case %q: %w", name, ntpac.ErrNotFound)
	}
	err = s.with(name, func(cs *caseState) error {
		c := checker{s: s, cs: cs, report: report}
		for _, k := range []struct {
			kind byte
			f    func(k, v []byte) error
		}{{kindConversation, c.conversation}, {kindChunk, c.chunk}, {kindPart, c.part}, {kindBody, c.body},
			{kindBlob, c.blob}, {kindSource, c.source}, {kindCheckpoint, c.checkpoint}} {
			err := s.scan(key(nil, cs.no, k.kind), func(key, v []byte) error {
				if err := ctx.Err(); err != nil {
					return err
				}
				c.checked++
				if err := k.f(key[keyHead:], v); err != nil {
					report(err.Error())
				}
				return nil
			})
			if err != nil {
				checked = c.checked
				return err
			}
		}
		n, err := row.VerifyChain(s.Log(ctx, name))
		checked = c.checked + int64(n)
		if err != nil {
			report(err.Error())
		}
		return nil
	})
	return checked, err
}

type checker struct {
	s       *Store
	cs      *caseState
	report  func(string)
	checked int64
	buf     []byte
	out     []byte
}

func short(what string, k []byte) error { return fmt.Errorf("index: damaged key of a %s: %x", what, k) }

func (c *checker) conversation(k, v []byte) error {
	if len(k) != idLen+1 {
		return short("conversation", k)
	}
	id := ntpac.ConversationID(k)
	if k[idLen] == subState {
		if _, err := row.DecodeState(v); err != nil {
			return fmt.Errorf("generations of conversation %v: %w", id, err)
		}
		return nil
	}
	conv, err := c.cs.decode(id, v, nil)
	if err != nil {
		return err
	}
	return c.cs.fill(conv, v, &c.buf)
}

func (c *checker) chunk(k, v []byte) error {
	if len(k) != idLen+9 {
		return short("chunk", k)
	}
	_, at, err := parseChunk(v)
	if err == nil {
		var packed []byte
		if packed, err = c.cs.seg.read(at, recChunk, k, &c.buf); err == nil {
			c.out, err = row.Unpack(c.out[:0], packed)
		}
	}
	if err != nil {
		return fmt.Errorf("chunk %d of stream %d of conversation %v: %w", binary.BigEndian.Uint64(k[idLen+1:]), k[idLen],
			ntpac.ConversationID(k), err)
	}
	return nil
}

func (c *checker) part(k, v []byte) error {
	if len(k) != idLen+12 {
		return short("part", k)
	}
	id := ntpac.ConversationID(k)
	b, err := c.cs.readAnywhere(v, recPart, k, &c.buf, c.out[:0])
	if err == nil && len(b) > 0 {
		c.out = b
		err = row.DecodePart(b, c.cs.name, id, &row.Head{}, func(*ntpac.Artifact) bool { return true })
	}
	if err != nil {
		return fmt.Errorf("artifacts of conversation %v: %w", id, err)
	}
	return nil
}

func (c *checker) body(k, v []byte) error {
	if len(k) != len(ntpac.Hash{}) {
		return short("body", k)
	}
	b, err := c.cs.readAnywhere(v, recBody, k, &c.buf, c.out[:0])
	if err == nil {
		c.out = b
		if sum := ntpac.Hash(sha256.Sum256(b)); sum != ntpac.Hash(k) {
			err = fmt.Errorf("its bytes have the sum %v", sum)
		}
	}
	if err != nil {
		return fmt.Errorf("blob %x: %w", k, err)
	}
	return nil
}

func (c *checker) blob(k, v []byte) error {
	if len(k) != len(ntpac.Hash{})+idLen || len(v) < 8 {
		return short("blob", k)
	}
	if _, err := row.DecodeBlob(v[8:], ntpac.ConversationID(k[32:])); err != nil {
		return fmt.Errorf("recipe of blob %x: %w", k[:32], err)
	}
	return nil
}

func (c *checker) source(k, v []byte) error {
	if _, err := decodeSource(v); err != nil {
		return fmt.Errorf("source %x: %w", k, err)
	}
	return nil
}

func (c *checker) checkpoint(k, v []byte) error {
	if len(k) != 2 {
		return short("checkpoint", k)
	}
	if _, err := row.DecodeCheckpoint(v, binary.BigEndian.Uint16(k)); err != nil {
		return fmt.Errorf("checkpoint of shard %d: %w", binary.BigEndian.Uint16(k), err)
	}
	return nil
}
