package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

const mebibyte = 1024 * 1024

// inParallel does things at once and joins what went wrong.
func inParallel(count int, do func(int) error) error {
	failures := make([]error, count)
	var all sync.WaitGroup
	for at := range count {
		all.Go(func() { failures[at] = do(at) })
	}
	all.Wait()
	return errors.Join(failures...)
}

func unarySizes(r *run) error {
	for _, size := range []int{0, 1, 16_378, 16_379, 16_380, 70_000} {
		request := bytes.Repeat([]byte("y"), size)
		got, err := r.unary(r.ctx, "Unary", request)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, request) {
			return fmt.Errorf("%d bytes came back as other %d", size, len(got))
		}
	}
	return inParallel(500, func(at int) error {
		request := strconv.Itoa(at)
		got, err := r.unary(r.ctx, "Unary", []byte(request))
		if err == nil && string(got) != request {
			err = fmt.Errorf("%s was answered with %s", request, got)
		}
		return err
	})
}

func serverStream(r *run) error {
	for _, method := range []string{"Stream", "Write"} {
		for _, count := range []int{0, 1, 500} {
			call, err := r.open(method)
			if err != nil {
				return err
			}
			got, err := call.all([]byte(strconv.Itoa(count)))
			if err != nil {
				return err
			}
			if len(got) != count {
				return fmt.Errorf("%s: %d messages, not %d", method, len(got), count)
			}
			for at, message := range got {
				if string(message) != strconv.Itoa(at) {
					return fmt.Errorf("%s: message %d is %s", method, at, message)
				}
			}
		}
	}
	call, err := r.open("Stream")
	if err != nil {
		return err
	}
	got, err := call.all([]byte("3:abort"))
	if len(got) != 3 {
		return fmt.Errorf("%d messages came before the abort, not 3", len(got))
	}
	return expect(err, codes.Aborted, "enough")
}

func clientStream(r *run) error {
	call, err := r.open("Collect")
	if err != nil {
		return err
	}
	part := bytes.Repeat([]byte("x"), 10_000)
	for range 50 {
		if err := call.send(part); err != nil {
			return err
		}
	}
	if err := call.CloseSend(); err != nil {
		return err
	}
	if got, err := call.receive(); err != nil || string(got) != "500000" {
		return fmt.Errorf("500000 bytes were counted as %s, %v", got, err)
	}
	// An answer before the end of the request.
	if call, err = r.open("Collect"); err != nil {
		return err
	}
	for _, word := range []string{"x", "stop"} {
		if err := call.send([]byte(word)); err != nil {
			return err
		}
	}
	if got, err := call.receive(); err != nil || string(got) != "1" {
		return fmt.Errorf("the early answer is %s, %v", got, err)
	}
	if _, err := call.receive(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("behind the early answer: %v", err)
	}
	return nil
}

func bidi(r *run) error {
	for _, method := range []string{"Both", "Read"} {
		call, err := r.open(method)
		if err != nil {
			return err
		}
		for _, size := range []int{0, 1, 16_379, 20_000, 300_000} {
			if err := call.echo(bytes.Repeat([]byte("z"), size)); err != nil {
				return fmt.Errorf("%s: %w", method, err)
			}
		}
		if err := call.end(); err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
	}
	// Both directions at once.
	call, err := r.open("Both")
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		for at := range 1000 {
			if err := call.send(bytes.Repeat([]byte{byte(at)}, at)); err != nil {
				sent <- err
				return
			}
		}
		sent <- call.CloseSend()
	}()
	for at := range 1000 {
		got, err := call.receive()
		if err != nil {
			return err
		}
		if !bytes.Equal(got, bytes.Repeat([]byte{byte(at)}, at)) {
			return fmt.Errorf("message %d is another", at)
		}
	}
	return <-sent
}

func deadline(r *run) error {
	ctx, cancel := context.WithTimeout(r.ctx, 300*time.Millisecond)
	defer cancel()
	_, err := r.unary(ctx, "Unary", []byte("sleep"))
	if err := expect(err, codes.DeadlineExceeded, ""); err != nil {
		return err
	}
	// In the middle of a stream, behind three messages.
	streamCtx, cancelStream := context.WithTimeout(r.ctx, 300*time.Millisecond)
	defer cancelStream()
	opened, err := r.conn.NewStream(streamCtx, anyStream, service+"Stream", grpc.ForceCodec(raw{}))
	if err != nil {
		return err
	}
	got, err := (&stream{opened, cancelStream}).all([]byte("3:sleep"))
	if len(got) != 3 {
		return fmt.Errorf("%d messages came before the deadline, not 3", len(got))
	}
	if err := expect(err, codes.DeadlineExceeded, ""); err != nil {
		return err
	}
	// The handler knows what is left.
	longCtx, cancelLong := context.WithTimeout(r.ctx, 10*time.Second)
	defer cancelLong()
	answer, err := r.unary(longCtx, "Unary", []byte("left"))
	if err != nil {
		return err
	}
	left, err := strconv.ParseFloat(string(answer), 64)
	if err == nil && (left < 5 || left > 10) {
		err = fmt.Errorf("the handler had %f seconds left of 10", left)
	}
	return err
}

func cancelWaiting(r *run) error {
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	failed := make(chan error, 1)
	go func() {
		_, err := r.unary(ctx, "Unary", []byte("sleep"))
		failed <- err
	}()
	if err := r.pause("the handler sleeps"); err != nil {
		return err
	}
	cancel()
	if err := expect(<-failed, codes.Canceled, ""); err != nil {
		return err
	}
	if err := r.pause("the handler was cancelled"); err != nil {
		return err
	}
	_, err := r.unary(r.ctx, "Unary", []byte("the connection goes on"))
	return err
}

// A window that does not grow, so that a handler whose answers nobody reads stops reading.
var narrowOptions = []grpc.DialOption{grpc.WithStaticStreamWindowSize(65_535)}

// cancelMidstream gives streams up while data goes both ways, more of it in all than the server lets lie unread.
func cancelMidstream(r *run) error {
	for range 240 {
		call, err := r.open("Both")
		if err != nil {
			return err
		}
		if err := call.echo(make([]byte, 100_000)); err != nil {
			return err
		}
		// Nobody reads the answers: soon nobody reads the requests either.
		for range 16 {
			if err := call.send(make([]byte, 10_000)); err != nil {
				return err
			}
		}
		call.cancel()
		for err == nil {
			_, err = call.receive()
		}
		if err := expect(err, codes.Canceled, ""); err != nil {
			return err
		}
	}
	return unarySizes(r)
}

func metadataBothWays(r *run) error {
	ctx := metadata.AppendToOutgoingContext(r.ctx,
		"x-text", "a b", "x-many", "1", "x-many", "2", "x-bytes-bin", "\x00\x01\x02\xff", "x-empty-bin", "")
	var header, trailer metadata.MD
	got, err := r.unary(ctx, "Unary", []byte("meta"), grpc.Header(&header), grpc.Trailer(&trailer))
	if err != nil {
		return err
	}
	seen := `[('x-bytes-bin', b'\x00\x01\x02\xff'), ('x-empty-bin', b''), ('x-many', '1'), ('x-many', '2'), ` +
		`('x-text', 'a b')]`
	if string(got) != seen {
		return fmt.Errorf("the handler saw %s", got)
	}
	for _, pair := range []struct {
		in          metadata.MD
		name, value string
	}{{header, "first", "1"}, {header, "first-bin", "\x01"}, {trailer, "last", "2"}} {
		if values := pair.in.Get(pair.name); len(values) != 1 || values[0] != pair.value {
			return fmt.Errorf("%s is %q", pair.name, values)
		}
	}
	return nil
}

func gzipBothWays(r *run) error {
	request := bytes.Repeat([]byte("q"), 100_000)
	got, err := r.unary(r.ctx, "Unary", request, grpc.UseCompressor(gzip.Name))
	if err != nil || !bytes.Equal(got, request) {
		return fmt.Errorf("a request by gzip: %d bytes, %v", len(got), err)
	}
	if got, err = r.unary(r.ctx, "Unary", []byte("gzip:answer")); err != nil {
		return err
	}
	if !bytes.Equal(got, bytes.Repeat([]byte("answer"), 1000)) {
		return errors.New("a response by gzip is another")
	}
	call, err := r.open("Both", grpc.UseCompressor(gzip.Name))
	if err != nil {
		return err
	}
	for _, size := range []int{0, 1, 300_000} {
		if err := call.echo(bytes.Repeat([]byte("z"), size)); err != nil {
			return err
		}
	}
	return call.end()
}

func largeMessages(r *run) error {
	request := bytes.Repeat([]byte("0123456789abcdef"), 4*mebibyte/16)
	if err := inParallel(3, func(int) error {
		got, err := r.unary(r.ctx, "Unary", request)
		if err == nil && !bytes.Equal(got, request) {
			err = errors.New("4 MiB came back as something else")
		}
		return err
	}); err != nil {
		return err
	}
	_, err := r.unary(r.ctx, "Unary", append(request, 'x'))
	if err := expect(err, codes.ResourceExhausted, ""); err != nil {
		return err
	}
	r.figures["too_large"] = status.Convert(err).Message()
	_, err = r.unary(r.ctx, "Unary", []byte("the connection goes on"))
	return err
}

func statuses(r *run) error {
	var trailer metadata.MD
	_, err := r.unary(r.ctx, "Unary", []byte("abort"), grpc.Trailer(&trailer))
	if err := expect(err, codes.NotFound, "näh, 100%\n"); err != nil {
		return err
	}
	if why := trailer.Get("why-bin"); len(why) != 1 || why[0] != "\x00\xff" {
		return fmt.Errorf("why-bin is %q", why)
	}
	for _, wanted := range []struct {
		method, request string
		code            codes.Code
		message         string
	}{
		{"Unary", "raise", codes.Unknown, "Unexpected <class 'LookupError'>: a defect"},
		{"Unary", "code", codes.DataLoss, "set"},
		{"Default", "", codes.Unimplemented, ""},
		{"Nothing", "", codes.Unimplemented, "Method not found!"},
	} {
		_, err := r.unary(r.ctx, wanted.method, []byte(wanted.request))
		if err := expect(err, wanted.code, wanted.message); err != nil {
			return fmt.Errorf("%s %s: %w", wanted.method, wanted.request, err)
		}
	}
	return nil
}

func statusDetails(r *run) error {
	sent, err := status.New(codes.FailedPrecondition, "not yet").WithDetails(
		&errdetails.ErrorInfo{Reason: "EARLY", Domain: "test", Metadata: map[string]string{"a": "ä"}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)},
	)
	if err != nil {
		return err
	}
	encoded, err := proto.Marshal(sent.Proto())
	if err != nil {
		return err
	}
	_, err = r.unary(r.ctx, "Unary", append([]byte("details:"), encoded...))
	if err := expect(err, codes.FailedPrecondition, "not yet"); err != nil {
		return err
	}
	if got := status.Convert(err); !proto.Equal(got.Proto(), sent.Proto()) {
		return fmt.Errorf("the details are %v", got.Proto())
	}
	return nil
}

// Ten seconds is the least that grpc-go allows.
var keepAliveOptions = []grpc.DialOption{grpc.WithKeepaliveParams(
	keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 2 * time.Second, PermitWithoutStream: true},
)}

// keepAlive is silent for a while, with a stream open and without; pings go both ways meanwhile.
func keepAlive(r *run) error {
	call, err := r.open("Both")
	if err != nil {
		return err
	}
	if err := call.echo([]byte("before")); err != nil {
		return err
	}
	time.Sleep(time.Duration(r.seconds * float64(time.Second)))
	if err := call.echo([]byte("after")); err != nil {
		return fmt.Errorf("after the silence: %w", err)
	}
	if err := call.end(); err != nil {
		return err
	}
	time.Sleep(time.Duration(r.seconds * float64(time.Second) / 4))
	_, err = r.unary(r.ctx, "Unary", []byte("hi"))
	return err
}

func gracefulStop(r *run) error {
	calls := make([]*stream, 10)
	for at := range calls {
		call, err := r.open("Both")
		if err != nil {
			return err
		}
		if err := call.echo([]byte("before")); err != nil {
			return err
		}
		calls[at] = call
	}
	if err := r.pause("ten streams are open"); err != nil {
		return err
	}
	for _, call := range calls {
		for _, size := range []int{1, 100_000} {
			if err := call.echo(make([]byte, size)); err != nil {
				return fmt.Errorf("while the server stops: %w", err)
			}
		}
	}
	// A new call goes nowhere: this server takes none, and no other listens.
	ctx, cancel := context.WithTimeout(r.ctx, 5*time.Second)
	defer cancel()
	_, err := r.unary(ctx, "Unary", []byte("late"))
	if err := expect(err, codes.Unavailable, ""); err != nil {
		return err
	}
	for _, call := range calls {
		if err := call.end(); err != nil {
			return fmt.Errorf("the end while the server stops: %w", err)
		}
	}
	return nil
}

func hardStop(r *run) error {
	call, err := r.open("Both")
	if err != nil {
		return err
	}
	if err := call.echo([]byte("before")); err != nil {
		return err
	}
	waiting := make(chan error, 1)
	go func() {
		_, err := r.unary(r.ctx, "Unary", []byte("sleep"))
		waiting <- err
	}()
	if err := r.pause("a stream and a call are open"); err != nil {
		return err
	}
	_, err = call.receive()
	if err := expect(err, codes.Unavailable, ""); err != nil {
		return err
	}
	r.figures["told"] = status.Convert(err).Message()
	return expect(<-waiting, codes.Unavailable, "")
}

// connectionAge calls all the time while connections are told to go one after the other: nobody notices.
func connectionAge(r *run) error {
	until := time.Now().Add(time.Duration(r.seconds * float64(time.Second)))
	counts := make([]int, 8)
	err := inParallel(len(counts), func(at int) error {
		for time.Now().Before(until) {
			if at%2 == 0 {
				if _, err := r.unary(r.ctx, "Unary", []byte("hi")); err != nil {
					return err
				}
			} else {
				call, err := r.open("Both")
				if err != nil {
					return err
				}
				for range 3 {
					if err := call.echo(make([]byte, 1000)); err != nil {
						return err
					}
				}
				if err := call.end(); err != nil {
					return err
				}
			}
			counts[at]++
		}
		return nil
	})
	total := 0
	for _, count := range counts {
		total += count
	}
	r.figures["calls"] = total
	return err
}

// manyStreams opens as many streams as the server allows on one connection; one more call waits for its turn.
func manyStreams(r *run) error {
	const count = 1000
	calls := make([]*stream, count)
	if err := inParallel(count, func(at int) (err error) {
		if calls[at], err = r.open("Both"); err == nil {
			err = calls[at].echo([]byte(strconv.Itoa(at)))
		}
		return err
	}); err != nil {
		return err
	}
	if err := r.pause("all streams are open"); err != nil {
		return err
	}
	waiting := make(chan error, 1)
	go func() {
		_, err := r.unary(r.ctx, "Unary", []byte("one more"))
		waiting <- err
	}()
	select {
	case err := <-waiting:
		return fmt.Errorf("one more call did not wait: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	if err := inParallel(count, func(at int) error {
		if err := calls[at].echo(bytes.Repeat([]byte("b"), 1000)); err != nil {
			return err
		}
		return calls[at].end()
	}); err != nil {
		return err
	}
	return <-waiting
}

// slowReader leaves much of one stream unread: calls beside it are answered, and in the end everything is there.
func slowReader(r *run) error {
	call, err := r.open("Both")
	if err != nil {
		return err
	}
	const count, size = 64, 100_000
	sent := make(chan error, 1)
	go func() {
		for at := range count {
			if err := call.send(bytes.Repeat([]byte{byte(at)}, size)); err != nil {
				sent <- err
				return
			}
		}
		sent <- call.CloseSend()
	}()
	if err := inParallel(100, func(int) error {
		_, err := r.unary(r.ctx, "Unary", []byte("meanwhile"))
		return err
	}); err != nil {
		return err
	}
	time.Sleep(300 * time.Millisecond)
	for at := range count {
		got, err := call.receive()
		if err != nil {
			return err
		}
		if !bytes.Equal(got, bytes.Repeat([]byte{byte(at)}, size)) {
			return fmt.Errorf("message %d is another", at)
		}
	}
	return <-sent
}
