// Talks to a server of parley_wire as a Go developer would, with grpc-go.
//
//	grpc_go_client [-ca file] [-cert file -key file] [-seconds n] <address> <case>
//
// The last line on standard output is a JSON object: {"case": …, "ok": …, "error": …, and figures}. A case that
// needs the test to do something on the server's side says {"waiting": …} and goes on after a line on standard
// input.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

const service = "/parley.wire.test.Echo/"

// A run is what every case has in hand.
type run struct {
	ctx     context.Context
	conn    *grpc.ClientConn
	input   *bufio.Scanner
	figures map[string]any
	options []grpc.DialOption
	seconds float64
}

type testCase struct {
	do      func(*run) error
	options []grpc.DialOption
}

var cases = map[string]testCase{
	"unary":            {do: unarySizes},
	"server_stream":    {do: serverStream},
	"client_stream":    {do: clientStream},
	"bidi":             {do: bidi},
	"deadline":         {do: deadline},
	"cancel_waiting":   {do: cancelWaiting},
	"cancel_midstream": {do: cancelMidstream, options: narrowOptions},
	"metadata":         {do: metadataBothWays},
	"gzip":             {do: gzipBothWays},
	"large":            {do: largeMessages},
	"errors":           {do: statuses},
	"details":          {do: statusDetails},
	"keepalive":        {do: keepAlive, options: keepAliveOptions},
	"graceful_stop":    {do: gracefulStop},
	"hard_stop":        {do: hardStop},
	"connection_age":   {do: connectionAge},
	"many_streams":     {do: manyStreams},
	"slow_reader":      {do: slowReader},
	"parley":           {do: parleyNode},
}

func main() {
	ca := flag.String("ca", "", "the authority's certificate: use TLS")
	certificate := flag.String("cert", "", "the client's own certificate")
	key := flag.String("key", "", "its key")
	seconds := flag.Float64("seconds", 2, "how long cases take that take as long as asked")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: grpc_go_client [flags] <address> <case>; cases:",
			slices.Sorted(maps.Keys(cases)))
		os.Exit(2)
	}
	address, name := flag.Arg(0), flag.Arg(1)
	transport, err := transportCredentials(*ca, *certificate, *key)
	figures := map[string]any{"case": name, "grpc_go": grpc.Version}
	if err == nil {
		err = play(address, name, transport, *seconds, figures)
	}
	figures["ok"] = err == nil
	if err != nil {
		figures["error"] = err.Error()
	}
	say(figures)
	if err != nil {
		os.Exit(1)
	}
}

func play(
	address, name string, transport credentials.TransportCredentials, seconds float64, figures map[string]any,
) error {
	found, known := cases[name]
	if !known {
		return fmt.Errorf("no such case: %s", name)
	}
	options := append(found.options, grpc.WithTransportCredentials(transport))
	conn, err := grpc.NewClient(address, options...)
	if err != nil {
		return err
	}
	defer conn.Close()
	// Nothing here may take for ever.
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	return found.do(&run{ctx, conn, bufio.NewScanner(os.Stdin), figures, options, seconds})
}

func transportCredentials(ca, certificate, key string) (credentials.TransportCredentials, error) {
	if ca == "" {
		return insecure.NewCredentials(), nil
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in " + ca)
	}
	if certificate != "" {
		own, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{own}
	}
	return credentials.NewTLS(config), nil
}

// say prints one JSON line.
func say(line map[string]any) {
	encoded, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(encoded))
}

// pause lets the test do its part.
func (r *run) pause(waiting string) error {
	say(map[string]any{"waiting": waiting})
	if !r.input.Scan() {
		return errors.New("the test said nothing more")
	}
	return nil
}
