package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
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

// stage is a run with everything set up.
type stage struct {
	options
	replicas []*replica
	program  *program
	gate     *gate // only without events
	locks    map[string]*keyLocks
	ledger   *ledger
}

// setUp makes buckets and configuration out of the environment that hack/servers.sh prints.
func setUp(ctx context.Context, o options, getenv func(string) string) (*stage, error) {
	var missing []string
	need := func(name string) string {
		v := getenv(name)
		if v == "" {
			missing = append(missing, name)
		}
		return v
	}
	access, secret := need("BUCKETMESH_TEST_S3_ACCESS_KEY"), need("BUCKETMESH_TEST_S3_SECRET_KEY")
	arns := []string{need("BUCKETMESH_E2E_MINIO_ARN_FAST"), need("BUCKETMESH_E2E_MINIO_ARN_DURABLE")}
	notify := need("BUCKETMESH_E2E_NORMALIZER_ADDR")
	token := need("BUCKETMESH_E2E_NOTIFY_TOKEN")
	s := &stage{options: o, locks: map[string]*keyLocks{}, ledger: &ledger{}}
	for _, r := range []replica{
		{name: "minio-a", endpoint: need("BUCKETMESH_TEST_MINIO_A"), dialect: "minio", versioned: true, arns: arns},
		{name: "minio-b", endpoint: need("BUCKETMESH_TEST_MINIO_B"), dialect: "minio", versioned: true, arns: arns},
		{name: "versitygw", endpoint: need("BUCKETMESH_TEST_VERSITYGW"), dialect: "versitygw"},
	} {
		r.bucket = "e2e"
		r.client = newClient(r.endpoint, access, secret)
		s.replicas = append(s.replicas, &r)
		if !r.versioned {
			s.locks[r.name] = &keyLocks{}
		}
	}
	listen := notify
	if o.noEvents {
		listen = need("BUCKETMESH_E2E_UP_ADDR")
	}
	var state []string
	if o.state == "postgres" {
		state = []string{"--state", need("BUCKETMESH_TEST_POSTGRES")}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("not set: %s; start it with hack/e2e.sh", strings.Join(missing, ", "))
	}
	group := filepath.Join(o.dir, "group.yaml")
	if err := os.WriteFile(group, []byte(groupFile(s.replicas)), 0o600); err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	s.program = &program{
		binary: o.binary, group: group, data: filepath.Join(o.dir, "data"), listen: listen, state: state, logs: o.dir,
		env: []string{
			"BUCKETMESH_" + credentialsName + "_ACCESS_KEY_ID=" + access,
			"BUCKETMESH_" + credentialsName + "_SECRET_ACCESS_KEY=" + secret,
			"BUCKETMESH_WEBHOOK_TOKENS=" + token,
		},
		client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: time.Second}).DialContext, DisableKeepAlives: true,
		}},
	}
	for _, r := range s.replicas {
		if err := r.create(ctx); err != nil {
			return nil, err
		}
		if err := r.notify(ctx, true); err != nil {
			return nil, err
		}
	}
	if o.noEvents {
		var err error
		if s.gate, err = openGate(ctx, notify, listen); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// groupFile is the configuration under test. The brake of mass deletes is off: the workload deletes much of what there is.
func groupFile(replicas []*replica) string {
	var b strings.Builder
	b.WriteString("apiVersion: bucketmesh.dev/v1alpha1\nkind: SyncGroup\nmetadata:\n  name: e2e\nspec:\n  replicas:\n")
	for _, r := range replicas {
		fmt.Fprintf(&b, "  - name: %s\n    url: s3://%s?endpoint=%s&dialect=%s&credentials=%s\n    mode: ReadWrite\n",
			r.name, r.bucket, r.endpoint, r.dialect, credentialsName)
	}
	b.WriteString("  deletes:\n    brake:\n      percent: 100\n")
	return b.String()
}
