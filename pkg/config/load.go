package config

import (
	"maps"
	"os"
	"reflect"
	"slices"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"sigs.k8s.io/yaml"
)

// Options of Load.
type Options struct {
	// Providers that the program was built with: s3, gcs, azblob, mem. Replicas at others are refused. Nil is all.
	Providers []string
}

// Load reads one SyncGroup, in YAML or JSON. The error is of kind Invalid and wraps Mistakes.
func Load(data []byte, opts Options) (*Group, error) {
	v := &validator{collector: collector{lines: map[string]int{}}, providers: opts.Providers}
	if v.providers == nil {
		v.providers = providers
	}
	d := decoder{&v.collector}
	var doc document
	if node := d.parse(data); node != nil {
		d.value(node, "", reflect.ValueOf(&doc).Elem())
		v.undecoded = slices.Clone(v.mistakes)
		if g := v.group(&doc); len(v.mistakes) == 0 {
			g.matcher = compile(g)
			return g, nil
		}
	}
	return nil, errkind.New(errkind.Invalid, "load sync group: %w", v.sorted())
}

// LoadFile is Load of a file. An error names the file; one of kind NotFound or PermissionDenied is about the file itself.
func LoadFile(path string, opts Options) (*Group, error) {
	data, err := os.ReadFile(path)
	switch {
	case os.IsNotExist(err):
		return nil, errkind.New(errkind.NotFound, "read sync group: %w", err)
	case os.IsPermission(err):
		return nil, errkind.New(errkind.PermissionDenied, "read sync group: %w", err)
	case err != nil:
		return nil, errkind.New(errkind.Unknown, "read sync group: %w", err)
	}
	g, err := Load(data, opts)
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "%s: %w", path, err)
	}
	return g, nil
}

// CheckEnvironment refuses a group whose static credentials are not in the environment. lookupEnv is os.LookupEnv or
// like it. The error is of kind Invalid and wraps Mistakes; it names variables, never values.
func CheckEnvironment(g *Group, lookupEnv func(string) (string, bool)) error {
	var c collector
	for i, r := range g.Replicas {
		for _, name := range r.CredentialVariables() {
			if value, ok := lookupEnv(name); !ok {
				c.add(index("spec.replicas", i)+".url", "", "needs the environment variable "+name+", which is not set", "set it, from a secret store or a Kubernetes secret")
			} else if value == "" {
				c.add(index("spec.replicas", i)+".url", "", "needs the environment variable "+name+", which is empty", "set it, from a secret store or a Kubernetes secret")
			}
		}
	}
	if len(c.mistakes) == 0 {
		return nil
	}
	return errkind.New(errkind.Invalid, "check environment: %w", c.sorted())
}

// Marshal writes a group as the document that Load reads, with every default spelled out.
func Marshal(g *Group) ([]byte, error) {
	doc := document{APIVersion: APIVersion, Kind: Kind, Metadata: metadata{Name: g.Name}}
	for _, r := range g.Replicas {
		doc.Spec.Replicas = append(doc.Spec.Replicas, replica{
			Name: r.Name, URL: r.URL, Mode: string(r.Mode), AcceptLossWindow: new(r.AcceptLossWindow),
			Notifications: r.Notifications.document(),
		})
	}
	doc.Spec.Filter = &filter{Include: g.Filter.Include, Exclude: g.Filter.Exclude}
	for _, rule := range g.Conflicts {
		out := conflictRule{Match: rule.Match, Policy: string(rule.Policy), Order: rule.Order}
		if rule.Policy == LastWriterWins {
			out.Discard = new(rule.Discard)
		}
		doc.Spec.Conflicts = append(doc.Spec.Conflicts, out)
	}
	doc.Spec.Deletes = &deletes{
		Propagate: new(g.Deletes.Propagate),
		Brake:     &brake{Keys: new(g.Deletes.Brake.Keys), Percent: new(g.Deletes.Brake.Percent)},
	}
	doc.Spec.Transfer = &transfer{
		PartSize:  new(size(formatSize(g.Transfer.PartSize))),
		Parallel:  new(g.Transfer.Parallel),
		Bandwidth: new(size(formatSize(g.Transfer.Bandwidth))),
	}
	doc.Spec.Scan = &scan{Every: new(duration(formatDuration(g.Scan.Every)))}
	data, err := yaml.Marshal(doc)
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "marshal sync group: %w", err)
	}
	return data, nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
