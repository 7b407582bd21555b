// Command pubsub is a Pub/Sub emulator for tests: Google's own fake (pstest) at an address, with a topic and the
// subscriptions of it that the command line names. It prints "ready" when all of them are there, and keeps messages in
// memory until it ends. It knows acks, deadlines, filters and dead-letter policies; it stores a push configuration, but
// never pushes, and nobody has to prove who they are.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:19011", "address to listen at")
	topic := flag.String("topic", "", "topic to create: projects/P/topics/T")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: pubsub [-listen HOST:PORT] -topic projects/P/topics/T [projects/P/subscriptions/S...]")
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, *topic, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen, topic string, subscriptions []string) error {
	if !strings.HasPrefix(topic, "projects/") {
		return errors.New("-topic must be projects/P/topics/T")
	}
	var lc net.ListenConfig
	probe, err := lc.Listen(ctx, "tcp", listen) // pstest panics where it can't listen
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if err := probe.Close(); err != nil {
		return fmt.Errorf("close probe: %w", err)
	}
	server := pstest.NewServerWithAddress(listen)
	if _, err := server.GServer.CreateTopic(ctx, &pubsubpb.Topic{Name: topic}); err != nil {
		return fmt.Errorf("create topic %q: %w", topic, err)
	}
	for _, name := range subscriptions {
		if _, err := server.GServer.CreateSubscription(ctx, &pubsubpb.Subscription{Name: name, Topic: topic}); err != nil {
			return fmt.Errorf("create subscription %q: %w", name, err)
		}
	}
	fmt.Println("ready at", server.Addr)
	<-ctx.Done()
	return server.Close()
}
