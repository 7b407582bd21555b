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
	// Expression says what is wrong with an expression of the policy cel; its error begins with the place. Programs that
	// decide conflicts give rank.Check; with nil expressions are not judged, so that programs that never evaluate one do not
	// have to carry the language.
	Expression func(expression string) error
}

// Load reads one SyncGroup, in YAML or JSON. The error is of kind Invalid and wraps Mistakes.
func Load(data []byte, opts Options) (*Group, error) {
	v := &validator{collector: collector{lines: map[string]int{}}, providers: opts.Providers, expression: opts.Expression}
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
		doc.Spec.Conflicts = append(doc.Spec.Conflicts, rule.document())
	}
	doc.Spec.Deletes = &deletes{
		Propagate: new(g.Deletes.Propagate),
		Brake: &brake{
			Keys: new(g.Deletes.Brake.Keys), Percent: new(g.Deletes.Brake.Percent),
			Within: new(duration(formatDuration(g.Deletes.Brake.Within))), PerMinute: new(g.Deletes.Brake.PerMinute),
		},
		Lifecycle:  string(g.Deletes.Lifecycle),
		Hold:       new(duration(formatDuration(g.Deletes.Hold))),
		Quarantine: new(duration(formatDuration(g.Deletes.Quarantine))),
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
