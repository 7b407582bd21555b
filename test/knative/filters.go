package knative

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"github.com/bucketmesh/bucketmesh/pkg/broker"
)

// namespaceOfFilters has a Broker and the Triggers of the comparison, so that nobody else gets its events.
const namespaceOfFilters = "bucketmesh-filters"

type filterOptions struct {
	broker, proxy, receiver, kubectl string
	within                           time.Duration
}

// inbox is all subscribers of the comparison: POST /NAME is an event for the trigger NAME.
type inbox struct {
	mu  sync.Mutex
	got map[string][]string // ids, by trigger
}

func (b *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e, err := cehttp.NewEventFromHTTPRequest(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	name := strings.Trim(r.URL.Path, "/")
	b.got[name] = append(b.got[name], e.ID())
	w.WriteHeader(http.StatusAccepted)
}

func (b *inbox) of(trigger string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := slices.Clone(b.got[trigger])
	slices.Sort(ids)
	return ids
}

// expected is who must get which events, by pkg/broker.
func expected(ctx context.Context, c filterCase, events map[string]cloudevents.Event) ([]string, error) {
	match, err := broker.Matcher(c.ours)
	if err != nil {
		return nil, err //nolint:wrapcheck // names the trigger
	}
	ids := []string{}
	for _, id := range slices.Sorted(maps.Keys(events)) {
		if match(ctx, events[id]) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// disagreements compares what was delivered with what pkg/broker says.
func disagreements(ctx context.Context, cases []filterCase, events map[string]cloudevents.Event, b *inbox) error {
	var wrong []error
	for _, c := range cases {
		want, err := expected(ctx, c, events)
		if err != nil {
			return err
		}
		if got := b.of(c.name); !slices.Equal(got, want) {
			wrong = append(wrong, fmt.Errorf("trigger %s: Knative delivers %q, pkg/broker %q", c.name, got, want))
		}
	}
	return errors.Join(wrong...)
}

func (o filterOptions) run(ctx context.Context, out io.Writer) (err error) {
	if o.broker == "" {
		return errors.New("--broker-of is required")
	}
	client, err := clientThrough(o.proxy)
	if err != nil {
		return err
	}
	cases, err := filterCases()
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.receiver)
	if err != nil {
		return fmt.Errorf("listen for events: %w", err)
	}
	box := &inbox{got: map[string][]string{}}
	server := &http.Server{Handler: box, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		err = errors.Join(err, server.Close())
		if e := <-served; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
	}()

	if err := o.apply(ctx, cases, listener.Addr().String()); err != nil {
		return err
	}
	w := &world{options: options{broker: o.broker + "/" + namespaceOfFilters + "/filters"}, http: client}
	events := filterEvents()
	start := time.Now()
	for _, id := range slices.Sorted(maps.Keys(events)) {
		if err := w.publish(ctx, events[id]); err != nil {
			return fmt.Errorf("event %q: %w", id, err)
		}
	}
	if err := disagreements(ctx, cases, events, box); err != nil {
		return err
	}
	fmt.Fprintf(out, "filters: %d triggers and %d events: Knative's data plane and pkg/broker agree (%.1f s)\n", len(cases), len(events), time.Since(start).Seconds())
	return o.kube(ctx, "", "delete", "namespace", namespaceOfFilters, "--wait=false")
}

// apply makes the Broker and the Triggers, and waits until they are ready.
func (o filterOptions) apply(ctx context.Context, cases []filterCase, receiver string) error {
	var text strings.Builder
	fmt.Fprintf(&text, "apiVersion: v1\nkind: Namespace\nmetadata: {name: %[1]s}\n---\napiVersion: eventing.knative.dev/v1\nkind: Broker\n"+
		"metadata: {name: filters, namespace: %[1]s, annotations: {eventing.knative.dev/broker.class: MTChannelBasedBroker}}\n"+
		"spec: {config: {apiVersion: v1, kind: ConfigMap, name: config-br-default-channel, namespace: knative-eventing}}\n", namespaceOfFilters)
	for _, c := range cases {
		fmt.Fprintf(&text, "---\n%s", c.manifest(namespaceOfFilters, "http://"+receiver+"/"+c.name))
	}
	if err := o.kube(ctx, text.String(), "apply", "--server-side", "-f", "-"); err != nil {
		return err
	}
	return o.kube(ctx, "", "-n", namespaceOfFilters, "wait", "--for=condition=Ready", "broker,trigger", "--all", "--timeout="+o.within.String())
}

func (o filterOptions) kube(ctx context.Context, stdin string, args ...string) error {
	cmd := exec.CommandContext(ctx, o.kubectl, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", o.kubectl, strings.Join(args, " "), err, out)
	}
	return nil
}
