package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"ntpac"
	"ntpac/balancer"
	"ntpac/cluster"
)

// linked balances a capture to owners behind TCP connections, as a source does in a cluster: the packets
// are copied into frames, sent, received and decoded into batches there. Both ends are in this process,
// so that their time is counted together.
func linked(p *pass) (int64, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	var ends sync.WaitGroup
	var bytes [owners]int64
	var errs [2*owners + 1]error
	var streams [owners]*cluster.Stream
	var senders [owners]*cluster.Sender
	for i := range owners {
		out, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return 0, err
		}
		in, err := l.Accept()
		if err != nil {
			return 0, err
		}
		senders[i] = cluster.NewSender(out, 0)
		streams[i] = senders[i].Stream(cluster.Header{Source: 1})
		ends.Go(func() { errs[i] = senders[i].Credits() })
		ends.Go(func() { bytes[i], errs[owners+i] = receive(in) })
	}
	errs[2*owners] = send(p, &streams)
	for _, s := range senders {
		errs[2*owners] = errors.Join(errs[2*owners], s.Finish())
	}
	ends.Wait()
	return bytes[0] + bytes[1], errors.Join(errs[:]...)
}

// send is the balancer's end.
func send(p *pass, streams *[owners]*cluster.Stream) error {
	ctx := context.Background()
	bal, table := balancer.New(balancer.Config{Seed: 1}), ownership()
	err := each(p, func(b *ntpac.Batch) error {
		bal.Prepare(b)
		for i := range b.Packets {
			q := &b.Packets[i]
			if err := streams[table[ntpac.Shard(q.Hash)]].Add(ctx, b, q); err != nil {
				return err
			}
		}
		for _, s := range streams {
			s.Header.Watermark = b.Watermark
		}
		return nil
	})
	for _, s := range streams {
		err = errors.Join(err, s.Flush(ctx))
	}
	return err
}

// receive is an owner's end: it counts the payload of the batches that come and lets them go.
func receive(conn net.Conn) (bytes int64, err error) {
	r := cluster.NewReceiver(conn, 0)
	var credits sync.WaitGroup
	credits.Go(func() { _ = r.Credits() }) // the sender leaves while some are owed
	b := &ntpac.Batch{Packets: make([]ntpac.Packet, 0, balancer.MaxPackets)}
	for {
		if _, err = r.Next(b); err != nil {
			break
		}
		for i := range b.Packets {
			bytes += int64(b.Packets[i].PayCap)
		}
		b.Free()
	}
	r.Close()
	credits.Wait()
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return bytes, err
}
