// Command registry prints the keys below a prefix that an etcd holds, one a
// line. The tests use it to see what is left.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

func main() {
	endpoint := flag.String("endpoint", "", "host:port of etcd")
	name := flag.String("name", "", "name in etcd's certificate")
	ca := flag.String("ca", "", "PEM file of the CA")
	cert := flag.String("cert", "", "PEM file of the client's certificate")
	key := flag.String("key", "", "PEM file of its key")
	prefix := flag.String("prefix", "/dotmesh/", "prefix of the keys to print")
	flag.Parse()
	if err := list(*endpoint, *name, *ca, *cert, *key, *prefix); err != nil {
		fmt.Fprintln(os.Stderr, "registry:", err)
		os.Exit(1)
	}
}

func list(endpoint, name, ca, cert, key, prefix string) error {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s holds no certificate", ca)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{pair}}
	keys, err := read(endpoint, name, config, prefix)
	if err != nil {
		return errors.Join(err, refusal(endpoint, name, config))
	}
	for _, key := range keys {
		fmt.Println(key)
	}
	return nil
}

func read(endpoint, name string, config *tls.Config, prefix string) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client, err := clientv3.New(clientv3.Config{
		// The client checks a certificate against the endpoint's name, whatever
		// TLS says.
		Endpoints: []string{"https://" + name},
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", endpoint)
		})},
		Context: ctx,
		TLS:     config,
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }()
	answer, err := client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return nil, err
	}
	keys := make([]string, 0, len(answer.Kvs))
	for _, kv := range answer.Kvs {
		keys = append(keys, string(kv.Key))
	}
	return keys, nil
}

// refusal is what TLS alone says against the client. A server tells that it does not
// take a certificate after the client's part of the handshake, as TLS 1.3 has it, and
// gRPC, which writes on at once, loses that.
func refusal(endpoint, name string, config *tls.Config) error {
	config = config.Clone()
	config.ServerName, config.NextProtos = name, []string{"h2"}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", endpoint)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil // it waits for a request: the certificate is not what is wrong
}
