package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	maxReplicas = 32
	maxURL      = 2048 // bytes
)

// validator turns a decoded document into a Group and collects what is wrong with it.
type validator struct {
	collector
	providers  []string
	expression func(string) error // nil: expressions are not judged
	undecoded  Mistakes           // those of the decoder
}

const labelMend = "use 1 to 63 lower-case letters, digits and hyphens, beginning and ending with a letter or digit"

// group is the Group of a document; it is whole only if no mistake was found.
func (v *validator) group(doc *document) *Group {
	v.constant("apiVersion", doc.APIVersion, APIVersion)
	v.constant("kind", doc.Kind, Kind)
	v.label("metadata.name", doc.Metadata.Name)
	g := &Group{Name: doc.Metadata.Name}
	g.Replicas = v.replicas(doc.Spec.Replicas)
	g.Filter = v.filter(doc.Spec.Filter)
	g.Conflicts = v.conflicts(doc.Spec.Conflicts, g.Replicas)
	g.Deletes = v.deletes(doc.Spec.Deletes)
	g.Transfer = v.transfer(doc.Spec.Transfer)
	g.Scan = v.scan(doc.Spec.Scan)
	return g
}

// missing reports whether a required text is not there, and says so unless the decoder already found worse.
func (v *validator) missing(path, value, mend string) bool {
	if value != "" {
		return false
	}
	if !v.blocked(path) {
		v.add(path, "", "is missing", mend)
	}
	return true
}

// blocked reports whether the decoder could not read path because of a mistake at it, below it or above it: then what
// is there can't be judged.
func (v *validator) blocked(path string) bool {
	within := func(inner, outer string) bool {
		rest, ok := strings.CutPrefix(inner, outer)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	}
	return slices.ContainsFunc(v.undecoded, func(m Mistake) bool {
		return m.Path == "" || within(m.Path, path) || within(path, m.Path)
	})
}

func (v *validator) constant(path, value, want string) {
	if !v.missing(path, value, "write "+want) && value != want {
		v.add(path, quote(value), "is not known", "write "+want)
	}
}

func (v *validator) label(path, value string) {
	if !v.missing(path, value, labelMend) && !dnsLabel.MatchString(value) {
		v.add(path, quote(value), "is not a DNS label", labelMend)
	}
}

func (v *validator) choice(path, value, what string, known []string) {
	if !slices.Contains(known, value) {
		v.add(path, quote(value), "is not "+what, suggest(value, known))
	}
}

func (v *validator) replicas(in []replica) []Replica {
	const path = "spec.replicas"
	if !v.blocked(path) || len(in) > 0 {
		switch {
		case len(in) == 0:
			v.add(path, "", "is missing or empty", "list at least two replicas")
		case len(in) == 1:
			v.add(path, "", "has one replica only", "add a second one: there is nothing to keep the same as")
		case len(in) > maxReplicas:
			v.add(path, "", fmt.Sprintf("has %d replicas", len(in)), fmt.Sprintf("use at most %d", maxReplicas))
			in = in[:maxReplicas] // what follows is quadratic
		}
	}
	out := make([]Replica, 0, len(in))
	writable, seen := false, map[string]int{}
	for i, doc := range in {
		at := index(path, i)
		r := Replica{Name: doc.Name, URL: doc.URL, Mode: ReadWrite, AcceptLossWindow: value(doc.AcceptLossWindow, false)}
		v.label(at+".name", doc.Name)
		if first, twice := seen[doc.Name]; twice && doc.Name != "" {
			v.add(at+".name", quote(doc.Name), "is the name of "+index(path, first)+" too", "use another name")
		} else {
			seen[doc.Name] = i
		}
		if doc.Mode != "" {
			r.Mode = Mode(doc.Mode)
			v.choice(at+".mode", doc.Mode, "a mode", modes)
		}
		if r.Mode == ReadOnly && r.AcceptLossWindow {
			v.add(at+".acceptLossWindow", "true", "makes no sense on a ReadOnly replica", "remove it: only ReadWrite needs the promise")
		}
		if !v.missing(at+".url", doc.URL, "write the URL of the bucket, such as s3://media-eu?region=eu-central-1") {
			if len(doc.URL) > maxURL {
				v.add(at+".url", "", fmt.Sprintf("is longer than %d bytes", maxURL), "use a shorter URL")
			} else {
				v.replicaURL(at+".url", &r)
			}
		}
		v.notifications(at+".notifications", doc.Notifications, &r)
		// A mode that could not be read counts: one mistake is not reported as two.
		writable = writable || r.Mode != ReadOnly
		out = append(out, r)
	}
	if len(in) > 0 && !writable {
		v.add(path, "", "has no ReadWrite replica", "make at least one replica ReadWrite")
	}
	v.overlaps(path, out)
	v.pushedAndPulled(path, out)
	return out
}

// overlaps refuses replicas of which one is, or is in, another one: a change there would be copied to itself.
func (v *validator) overlaps(path string, replicas []Replica) {
	for i, r := range replicas {
		for j, other := range replicas[:i] {
			if r.Bucket == "" || other.Bucket == "" || r.store() != other.store() {
				continue
			}
			var problem string
			switch {
			case r.Prefix == other.Prefix && r.Prefix == "":
				problem = "is the same bucket as "
			case r.Prefix == other.Prefix:
				problem = "is the same bucket and prefix as "
			case strings.HasPrefix(r.Prefix, other.Prefix):
				problem = "is inside of "
			case strings.HasPrefix(other.Prefix, r.Prefix):
				problem = "has inside of it "
			default:
				continue
			}
			v.add(index(path, i)+".url", "", problem+index(path, j)+".url", "use another bucket, or prefixes of which none begins with another")
		}
	}
}

func (v *validator) patterns(path string, in []string, empty string) {
	switch {
	case in != nil && len(in) == 0:
		v.add(path, "", "is an empty list", empty)
	case len(in) > maxPatterns:
		v.add(path, "", fmt.Sprintf("has %d patterns", len(in)), fmt.Sprintf("use at most %d", maxPatterns))
		in = in[:maxPatterns]
	}
	for i, text := range in {
		v.pattern(index(path, i), text)
	}
}

func (v *validator) pattern(path, text string) {
	if v.blocked(path) {
		return
	}
	if _, err := compilePattern(text); err != nil {
		v.add(path, quote(text), err.Error(), "write a pattern such as docs/** or **/*.json; \\ takes the meaning from * ? [ ] { }")
		return
	}
	if strings.HasPrefix(text, "/") {
		v.add(path, quote(text), "begins with a slash, and keys do not", "remove the slash")
	}
}

func (v *validator) filter(in *filter) Filter {
	if in == nil {
		in = &filter{}
	}
	const path = "spec.filter"
	v.patterns(path+".include", in.Include, "remove it to include all keys")
	v.patterns(path+".exclude", in.Exclude, "remove it to exclude none")
	for i, text := range in.Include {
		if inReserved(text, ReservedPrefix) {
			v.add(index(path+".include", i), quote(text), "is in the reserved prefix "+ReservedPrefix, "remove it: bucketmesh keeps its own objects there")
		}
	}
	for i, text := range in.Exclude {
		if inReserved(text, ConflictPrefix) {
			v.add(index(path+".exclude", i), quote(text), "is in the prefix "+ConflictPrefix, "remove it: conflict copies are always part of the group")
		}
	}
	out := Filter{Include: in.Include, Exclude: in.Exclude}
	if len(out.Include) == 0 {
		out.Include = []string{everything}
	}
	return out
}

// inReserved reports whether a pattern can match below a prefix only.
func inReserved(text, prefix string) bool {
	return strings.HasPrefix(text, prefix) || text == strings.TrimSuffix(prefix, "/")
}

func (v *validator) deletes(in *deletes) Deletes {
	if in == nil {
		in = &deletes{}
	}
	b := in.Brake
	if b == nil {
		b = &brake{}
	}
	const path = "spec.deletes"
	lifecycle := LifecyclePropagate
	if in.Lifecycle != "" {
		lifecycle = Lifecycle(in.Lifecycle)
		v.choice(path+".lifecycle", in.Lifecycle, "known", lifecycles)
	}
	return Deletes{
		Lifecycle: lifecycle,
		Propagate: value(in.Propagate, true),
		Brake: Brake{
			Keys:      v.number(path+".brake.keys", b.Keys, 0, 1_000_000_000, 20),
			Percent:   v.number(path+".brake.percent", b.Percent, 0, 100, 25),
			Within:    v.time(path+".brake.within", b.Within, minWithin, maxWithin, time.Hour, false),
			PerMinute: v.number(path+".brake.perMinute", b.PerMinute, 0, 1_000_000_000, 0),
		},
		Hold:       v.time(path+".hold", in.Hold, time.Millisecond, maxHold, 5*time.Second, true),
		Quarantine: v.time(path+".quarantine", in.Quarantine, minKeep, maxKeep, 168*time.Hour, true),
	}
}

func (v *validator) transfer(in *transfer) Transfer {
	if in == nil {
		in = &transfer{}
	}
	const path = "spec.transfer"
	return Transfer{
		PartSize:  v.size(path+".partSize", in.PartSize, minPartSize, maxPartSize, 16*mib, false),
		Parallel:  v.number(path+".parallel", in.Parallel, 1, 64, 8),
		Bandwidth: v.size(path+".bandwidth", in.Bandwidth, minBandwidth, maxBandwidth, 0, true),
	}
}

func (v *validator) scan(in *scan) Scan {
	if in == nil {
		in = &scan{}
	}
	return Scan{Every: v.duration("spec.scan.every", in.Every, minEvery, maxEvery, 24*time.Hour)}
}

func (v *validator) duration(path string, in *duration, low, high, standard time.Duration) time.Duration {
	return v.time(path, in, low, high, standard, false)
}

// time is a duration within bounds; zero says that 0s is allowed, too.
func (v *validator) time(path string, in *duration, low, high, standard time.Duration, zero bool) time.Duration {
	if in == nil || v.blocked(path) {
		return standard
	}
	text := string(*in)
	d, err := time.ParseDuration(text)
	mend := fmt.Sprintf("write a duration from %s to %s, such as %s", formatDuration(low), formatDuration(high), formatDuration(standard))
	if zero {
		mend += ", or 0s for none"
	}
	switch {
	case err != nil || !durationText.MatchString(text):
		v.add(path, quote(text), "is not a duration", mend)
	case d == 0 && zero:
	case d < low || d > high:
		v.add(path, quote(text), "is out of bounds", mend)
	}
	return d
}

func (v *validator) number(path string, in *int, low, high, standard int) int {
	if in == nil || v.blocked(path) {
		return standard
	}
	if *in < low || *in > high {
		v.add(path, fmt.Sprint(*in), "is out of bounds", fmt.Sprintf("use a number from %d to %d", low, high))
	}
	return *in
}

func (v *validator) size(path string, in *size, low, high, standard int64, zero bool) int64 {
	if in == nil || v.blocked(path) {
		return standard
	}
	mend := fmt.Sprintf("write a size from %s to %s", formatSize(low), formatSize(high))
	if zero {
		mend += ", or 0 for no limit"
	}
	n, err := parseSize(*in)
	switch {
	case err != nil:
		v.add(path, quote(string(*in)), err.Error(), mend)
	case n == 0 && zero:
	case n < low || n > high:
		v.add(path, quote(string(*in)), "is out of bounds", mend)
	}
	return n
}

// value is what a pointer points at, or the default.
func value[T any](p *T, standard T) T {
	if p == nil {
		return standard
	}
	return *p
}
