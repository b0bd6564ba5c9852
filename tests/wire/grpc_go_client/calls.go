package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// raw passes bytes through. Its name is the one of the codec that servers know.
type raw struct{}

func (raw) Marshal(message any) ([]byte, error) { return *message.(*[]byte), nil }

func (raw) Unmarshal(data []byte, message any) error {
	*message.(*[]byte) = append([]byte(nil), data...)
	return nil
}

func (raw) Name() string { return "proto" }

var anyStream = &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}

func (r *run) unary(ctx context.Context, method string, request []byte, options ...grpc.CallOption) ([]byte, error) {
	var response []byte
	options = append(options, grpc.ForceCodec(raw{}))
	err := r.conn.Invoke(ctx, service+method, &request, &response, options...)
	return response, err
}

// A stream of any kind.
type stream struct {
	grpc.ClientStream
	cancel context.CancelFunc
}

func (r *run) open(method string, options ...grpc.CallOption) (*stream, error) {
	ctx, cancel := context.WithCancel(r.ctx)
	opened, err := r.conn.NewStream(ctx, anyStream, service+method, append(options, grpc.ForceCodec(raw{}))...)
	if err != nil {
		cancel()
		return nil, err
	}
	return &stream{opened, cancel}, nil
}

func (s *stream) send(message []byte) error { return s.SendMsg(&message) }

func (s *stream) receive() ([]byte, error) {
	var message []byte
	err := s.RecvMsg(&message)
	return message, err
}

// echo sends a message and expects the same back.
func (s *stream) echo(message []byte) error {
	if err := s.send(message); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	got, err := s.receive()
	if err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	if string(got) != string(message) {
		return fmt.Errorf("sent %d bytes, got other %d", len(message), len(got))
	}
	return nil
}

// end half-closes and expects OK.
func (s *stream) end() error {
	if err := s.CloseSend(); err != nil {
		return err
	}
	if _, err := s.receive(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("after the half-close: %v, not the end", err)
	}
	return nil
}

// all sends one request and returns every response.
func (s *stream) all(request []byte) ([][]byte, error) {
	if err := s.send(request); err != nil {
		return nil, err
	}
	if err := s.CloseSend(); err != nil {
		return nil, err
	}
	var got [][]byte
	for {
		message, err := s.receive()
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		got = append(got, message)
	}
}

// expect says what is wrong with the status of a failed call; nil if it is as expected.
func expect(err error, code codes.Code, message string) error {
	if err == nil {
		return fmt.Errorf("the call went well; expected %s", code)
	}
	found := status.Convert(err)
	if found.Code() != code || (message != "" && found.Message() != message) {
		return fmt.Errorf("expected %s %q, got %s %q", code, message, found.Code(), found.Message())
	}
	return nil
}
