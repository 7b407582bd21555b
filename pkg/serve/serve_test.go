package serve_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
)

const (
	patience = 30 * time.Second // for what must happen; a test that passes never waits for it

	child = "BUCKETMESH_TEST_SERVE_CHILD" // set in the environment of a child process: it is a service
)

func TestMain(m *testing.M) {
	if os.Getenv(child) != "" {
		os.Exit(serveAsChild())
	}
	os.Exit(m.Run())
}

// serveAsChild is a service whose handler says on standard output that it has begun, and ends when standard input does.
func serveAsChild() int {
	return serve.Main("child", "test", func(_ context.Context, rt serve.Runtime) (serve.Config, error) {
		h, err := serve.Events(serve.HandlerFunc(func(ctx context.Context, _ event.Event) error {
			fmt.Println("handling")
			if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
				return err
			}
			return ctx.Err()
		}), serve.Options{Logger: rt.Logger, Telemetry: rt.Telemetry})
		return serve.Config{
			Handler: h, Addr: "127.0.0.1:0", QuietPeriod: 20 * time.Millisecond, DrainTimeout: patience,
			OnListen: func(a net.Addr) { fmt.Println(a) },
		}, err
	})
}

func TestSIGTERMDrains(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), child+"=1")
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
	})
	lines := bufio.NewScanner(out)
	readLine := func() string {
		if !lines.Scan() {
			t.Fatalf("the child said nothing more: %v", lines.Err())
		}
		return lines.Text()
	}
	addr := readLine()
	url := "http://" + addr
	if got := get(t, url+serve.ReadyPath); got != http.StatusOK {
		t.Errorf("ready: %d", got)
	}

	type result struct {
		status int
		err    error
	}
	answered := make(chan result, 1)
	go func() {
		status, err := post(url, `{"specversion":"1.0","id":"1","source":"s","type":"t"}`)
		answered <- result{status, err}
	}()
	if got := readLine(); got != "handling" {
		t.Fatalf("child said %q", got)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "new connections are refused", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	select {
	case r := <-answered:
		t.Fatalf("the request under way was ended: %+v", r)
	default:
	}
	in.Close()
	if r := <-answered; r.err != nil || r.status != http.StatusAccepted {
		t.Errorf("the request under way: %+v, want 202", r)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("exit: %v, want 0", err)
	}
}

func TestDrainIsBounded(t *testing.T) {
	started := make(chan struct{})
	canceled := make(chan error, 1)
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(started)
		<-r.Context().Done()
		canceled <- r.Context().Err()
	})
	url, stop, done := run(t, serve.Config{Handler: h, QuietPeriod: time.Millisecond, DrainTimeout: 50 * time.Millisecond})
	go post(url, "x") // its answer is the end of the connection
	receive(t, started, "the request")
	stop()
	receive(t, canceled, "the request is canceled")
	if err := receive(t, done, "run returns"); !errkind.Is(err, errkind.Canceled) {
		t.Errorf("run: %v, want canceled", err)
	}
}

func TestSteadyTrafficDoesNotHoldUpTheEnd(t *testing.T) {
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	url, stop, done := run(t, serve.Config{Handler: h, QuietPeriod: time.Hour, DrainTimeout: 50 * time.Millisecond})
	stop()
	for range 10 {
		post(url, "x") // resets the quiet period; refused later
	}
	receive(t, done, "run returns")
}

// Trap: measurements are kept by the server's address, and a stranger says in Host what that is. Names of a megabyte each would
// fill the memory, and the time series of others would be no more.
func TestTrapWhatIsInHostIsNoTimeSeries(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	telemetry := serve.NoTelemetry()
	telemetry.Meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	url, stop, done := run(t, serve.Config{Handler: h, QuietPeriod: time.Millisecond, Telemetry: telemetry})
	client := &http.Client{Timeout: patience}
	for i := range 20 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = fmt.Sprintf("stranger%d:%d", i, 1000+i)
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
	stop()
	receive(t, done, "run returns")
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			h, ok := m.Data.(metricdata.Histogram[float64])
			if !ok {
				continue
			}
			found++
			if len(h.DataPoints) != 1 || h.DataPoints[0].Count != 20 {
				t.Errorf("%s has %d time series", m.Name, len(h.DataPoints))
			}
		}
	}
	if found == 0 {
		t.Error("nothing was measured")
	}
}

func TestReadiness(t *testing.T) {
	var fails atomic.Bool
	var looked atomic.Int32
	check := serve.Check{Name: "store", Do: func(context.Context) error {
		looked.Add(1)
		if fails.Load() {
			return errors.New("password hush refused")
		}
		return nil
	}}
	hold := make(chan struct{})
	started := make(chan struct{})
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(started); <-hold })
	url, stop, done := run(t, serve.Config{Handler: h, Ready: []serve.Check{check}, QuietPeriod: 200 * time.Millisecond})
	if got := get(t, url+serve.ReadyPath); got != http.StatusOK {
		t.Errorf("ready: %d", got)
	}
	fails.Store(true)
	r, err := http.Get(url + serve.ReadyPath)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "store") || strings.Contains(string(body), "hush") {
		t.Errorf("not ready: %d %q %v", r.StatusCode, body, err)
	}
	n := looked.Load()
	if got := get(t, url+serve.LivePath); got != http.StatusOK || looked.Load() != n {
		t.Errorf("liveness: %d, after %d checks, want 200 and no check", got, looked.Load()-n)
	}
	fails.Store(false)
	go post(url, "x")
	receive(t, started, "the request")
	stop()
	eventually(t, "readiness fails or the port is closed while it drains", func() bool {
		r, err := http.Get(url + serve.ReadyPath)
		if err == nil {
			r.Body.Close()
		}
		return err != nil || r.StatusCode == http.StatusServiceUnavailable
	})
	close(hold)
	if err := receive(t, done, "run returns"); err != nil {
		t.Errorf("run: %v", err)
	}
}

func TestRunRefusals(t *testing.T) {
	h := http.NotFoundHandler()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for name, cfg := range map[string]serve.Config{
		"no handler":    {Addr: "127.0.0.1:0"},
		"no port":       {Handler: h, Addr: "127.0.0.1"},
		"queue proxy's": {Handler: h, Addr: "127.0.0.1:8012"},
		"prometheus'":   {Handler: h, Addr: "127.0.0.1:9090"},
		"taken":         {Handler: h, Addr: busy.Addr().String()},
	} {
		if err := serve.Run(t.Context(), cfg); !errkind.Is(err, errkind.Invalid) {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
}

func TestLogger(t *testing.T) {
	var b strings.Builder
	log, err := serve.NewLogger(&b, "sync", "warn")
	if err != nil {
		t.Fatal(err)
	}
	log.Info("quiet")
	log.With("a", 1).WithGroup("g").Warn("loud", "b", 2)
	if got := b.String(); strings.Contains(got, "quiet") || !strings.Contains(got, `"service":"sync","a":1,"g":{"b":2}`) {
		t.Errorf("log: %s", got)
	}
	if _, err := serve.NewLogger(&b, "sync", "shout"); !errkind.Is(err, errkind.Invalid) {
		t.Errorf("wrong level: %v", err)
	}
}

// run serves on a free port until stop is called.
func run(t *testing.T, cfg serve.Config) (url string, stop func(), done <-chan error) {
	t.Helper()
	addr := make(chan net.Addr, 1)
	cfg.Addr, cfg.OnListen = "127.0.0.1:0", func(a net.Addr) { addr <- a }
	cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	ctx, cancel := context.WithCancel(t.Context())
	result, over := make(chan error, 1), make(chan struct{})
	go func() {
		result <- serve.Run(ctx, cfg)
		close(over)
	}()
	t.Cleanup(func() {
		cancel()
		<-over
	})
	return "http://" + receive(t, addr, "listening").String(), cancel, result
}

func get(t *testing.T, url string) int {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	return r.StatusCode
}

// post sends a structured event, and may be refused.
func post(url, body string) (int, error) {
	r, err := http.Post(url, "application/cloudevents+json", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	return r.StatusCode, nil
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("never happened: %s", what)
		}
	}
}

func receive[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("never happened: %s", what)
		panic("unreachable")
	}
}
