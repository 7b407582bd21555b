package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/demo/emulator"
)

// options of a run, from the command line.
type options struct {
	ops, kills, keys, multipart int
	seed                        uint64
	state                       string
	noEvents                    bool
	over, limit                 time.Duration
	output                      string
	dir, binary                 string

	name string   // of the group, and of all its buckets and containers; e2e if empty
	args []string // more arguments of the program
	cli  string   // the program that is asked; the one under test if empty

	brake string // of deletes; off if empty

	there bool // buckets and document are
}

func (o *options) defaults() error {
	if o.dir == "" || o.binary == "" {
		return errors.New("--dir and --bucketmesh are required; start it with hack/e2e.sh")
	}
	if o.state != "sqlite" && o.state != "postgres" {
		return fmt.Errorf("--state %s: must be sqlite or postgres", o.state)
	}
	if o.noEvents && o.kills > 0 {
		return errors.New("--no-events and --kill exclude each other")
	}
	if o.ops < 1 || o.keys < 40 || o.kills < 0 || o.multipart < 0 {
		return errors.New("--ops must be at least 1, --keys at least 40, --kill and --multipart not negative")
	}
	if o.name == "" {
		o.name = "e2e"
	}
	if o.over == 0 {
		o.over = max(60*time.Second, time.Duration(o.kills)*4*time.Second)
	}
	if o.limit == 0 {
		o.limit = 6 * time.Minute // seconds on an idle machine; a busy one is no reason to fail
	}
	return nil
}

// credentialsName is what the group calls the credentials.
const credentialsName = "E2E"

// Stage is a run with everything set up.
type Stage struct {
	options
	replicas []*replica
	Program  *Program
	gate     *gate               // only without events
	grid     *emulator.EventGrid // only with Azure
	locks    map[string]*keyLocks
	ledger   *ledger
	stops    []func() error
}

// environment is what hack/servers.sh prints.
type environment struct {
	getenv  func(string) string
	missing []string
}

func (e *environment) need(name string) string {
	v := e.getenv(name)
	if v == "" {
		e.missing = append(e.missing, name)
	}
	return v
}

func (e *environment) complete() error {
	if len(e.missing) > 0 {
		return fmt.Errorf("not set: %s; start it with hack/e2e.sh", strings.Join(e.missing, ", "))
	}
	return nil
}

// Fleet adds the replicas of a mode to a stage.
type Fleet func(ctx context.Context, s *Stage, env *environment) error

// setUp makes buckets and configuration.
func (s *Stage) setUp(ctx context.Context, f Fleet, getenv func(string) string) error {
	env := &environment{getenv: getenv}
	access, secret := env.need("BUCKETMESH_TEST_S3_ACCESS_KEY"), env.need("BUCKETMESH_TEST_S3_SECRET_KEY")
	notify, token := env.need("BUCKETMESH_E2E_NORMALIZER_ADDR"), env.need("BUCKETMESH_E2E_NOTIFY_TOKEN")
	listen := notify
	if s.noEvents {
		listen = env.need("BUCKETMESH_E2E_UP_ADDR")
	}
	var state []string
	if s.state == "postgres" {
		state = []string{"--state", env.need("BUCKETMESH_TEST_POSTGRES")}
	}
	s.Program = &Program{
		binary: s.binary, cli: cmp.Or(s.cli, s.binary), group: filepath.Join(s.dir, "group.yaml"), data: filepath.Join(s.dir, "data"), listen: listen, state: state, args: s.args, logs: s.dir,
		env: []string{
			"BUCKETMESH_" + credentialsName + "_ACCESS_KEY_ID=" + access,
			"BUCKETMESH_" + credentialsName + "_SECRET_ACCESS_KEY=" + secret,
			"BUCKETMESH_WEBHOOK_TOKENS=" + token,
		},
		client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: time.Second}).DialContext, DisableKeepAlives: true,
		}},
	}
	if err := f(ctx, s, env); err != nil {
		return err
	}
	if s.there {
		return nil
	}
	if err := os.WriteFile(s.Program.group, []byte(groupFile(s.name, s.brake, s.replicas)), 0o600); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	for _, r := range s.replicas {
		if err := r.create(ctx); err != nil {
			return err
		}
	}
	if s.noEvents {
		var err error
		if s.gate, err = openGate(ctx, notify, listen); err != nil {
			return err
		}
		s.stops = append(s.stops, s.gate.close)
	}
	return nil
}

// add puts a replica on the stage.
func (s *Stage) add(r *replica) {
	s.replicas = append(s.replicas, r)
	if !r.versioned && !r.exact {
		s.locks[r.name] = &keyLocks{}
	}
}

// addS3 puts a bucket at MinIO or versitygw on the stage.
func (s *Stage) addS3(env *environment, name, dialect, endpoint string, versioned bool, arns ...string) {
	client := newS3Client(endpoint, env.need("BUCKETMESH_TEST_S3_ACCESS_KEY"), env.need("BUCKETMESH_TEST_S3_SECRET_KEY"))
	s.add(&replica{
		traits: traits{versioned: versioned}, name: name, from: endpoint + "/" + s.name,
		url:    fmt.Sprintf("s3://%s?endpoint=%s&dialect=%s&credentials=%s", s.name, endpoint, dialect, credentialsName),
		bucket: &s3Bucket{name, endpoint, s.name, versioned, arns, client},
	})
}

// S3 is two MinIO and a versitygw.
func S3(_ context.Context, s *Stage, env *environment) error {
	arns := []string{env.need("BUCKETMESH_E2E_MINIO_ARN_FAST"), env.need("BUCKETMESH_E2E_MINIO_ARN_DURABLE")}
	s.addS3(env, "minio-a", "minio", env.need("BUCKETMESH_TEST_MINIO_A"), true, arns...)
	s.addS3(env, "minio-b", "minio", env.need("BUCKETMESH_TEST_MINIO_B"), true, arns...)
	s.addS3(env, "versitygw", "versitygw", env.need("BUCKETMESH_TEST_VERSITYGW"), false)
	return env.complete()
}

// traits of the replicas.
func (s *Stage) traits() []traits {
	all := make([]traits, len(s.replicas))
	for i, r := range s.replicas {
		all[i] = r.traits
	}
	return all
}

// Close ends what the stage started, the last first.
func (s *Stage) Close() (err error) {
	for _, stop := range slices.Backward(s.stops) {
		err = errors.Join(err, stop())
	}
	return err
}

// groupFile is the configuration under test.
func groupFile(name, brake string, replicas []*replica) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: bucketmesh.dev/v1alpha1\nkind: SyncGroup\nmetadata:\n  name: %s\nspec:\n  replicas:\n", name)
	for _, r := range replicas {
		fmt.Fprintf(&b, "  - name: %s\n    url: %s\n    mode: ReadWrite\n", r.name, r.url)
		if r.pull != "" {
			fmt.Fprintf(&b, "    notifications:\n      pull: %s\n", r.pull)
		}
	}
	fmt.Fprintf(&b, "  deletes:\n    brake: %s\n", cmp.Or(brake, "{percent: 100}"))
	return b.String()
}
