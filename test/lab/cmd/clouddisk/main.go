// Command clouddisk runs the two parts of the lab's cloud disk driver:
//
//	clouddisk controller CLUSTER SOCKET    on the host
//	clouddisk node NODE ADDRESS            in a node's machine
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/dotmesh-io/dotmesh-csi/test/lab"
	"github.com/dotmesh-io/dotmesh-csi/test/lab/clouddisk"
	"github.com/dotmesh-io/dotmesh-csi/test/lab/clouddisk/driver"
)

const kubelet = "/var/lib/kubelet"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "clouddisk:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 3 && args[0] == "controller" {
		return controller(ctx, args[1], args[2])
	}
	if len(args) == 3 && args[0] == "node" {
		return node(ctx, args[1], args[2])
	}
	return errors.New("want controller CLUSTER SOCKET, or node NODE ADDRESS")
}

func controller(ctx context.Context, cluster, socket string) error {
	env, err := lab.HostEnv(os.Stderr)
	if err != nil {
		return err
	}
	c, err := lab.Open(env, cluster)
	if err != nil {
		return err
	}
	return driver.Serve(ctx, socket, func(s *grpc.Server) {
		csi.RegisterControllerServer(s, &driver.Controller{Disks: c.Disks()})
	})
}

func node(ctx context.Context, name, address string) error {
	socket := kubelet + "/plugins/" + clouddisk.DriverName + "/csi.sock"
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return driver.Serve(ctx, socket, func(s *grpc.Server) { csi.RegisterNodeServer(s, driver.NewNode(name)) })
	})
	group.Go(func() error {
		return driver.Register(ctx, kubelet+"/plugins_registry/"+clouddisk.DriverName+"-reg.sock", socket)
	})
	group.Go(func() error { return driver.ServeUsers(ctx, address) })
	return group.Wait()
}
