package broker

import (
	"context"
	"fmt"
	"regexp"

	"github.com/cloudevents/sdk-go/v2/event"
	"knative.dev/eventing/pkg/eventfilter"
	"knative.dev/eventing/pkg/eventfilter/attributes"
	"knative.dev/eventing/pkg/eventfilter/subscriptionsapi"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// compile makes the filter of a trigger, with the rules of Knative's dispatcher: spec.filters overrides spec.filter, and
// no filter at all is everything. A filter that Knative's webhook would refuse is an error of kind Invalid here, because
// Knative's own constructors skip it, which widens the trigger to everything.
func compile(t Trigger) (eventfilter.Filter, error) {
	if len(t.Filters) > 0 {
		f, err := compileAll(t.Filters, fmt.Sprintf("trigger %s: spec.filters", t.Name))
		if err != nil {
			return nil, err
		}
		return all(f), nil
	}
	if t.Attributes == nil {
		return subscriptionsapi.NewNoFilter(), nil
	}
	if err := checkNames(t.Attributes, fmt.Sprintf("trigger %s: spec.filter.attributes", t.Name)); err != nil {
		return nil, err
	}
	return attributes.NewAttributesFilter(t.Attributes), nil
}

func compileAll(list []Filter, path string) ([]eventfilter.Filter, error) {
	compiled := make([]eventfilter.Filter, 0, len(list))
	for i, f := range list {
		if f.dialects() == 0 {
			continue // Knative drops it, so that in any it does not match
		}
		c, err := compileOne(f, fmt.Sprintf("%s[%d]", path, i))
		if err != nil {
			return nil, err
		}
		compiled = append(compiled, c)
	}
	return compiled, nil
}

func compileOne(f Filter, path string) (eventfilter.Filter, error) {
	if f.dialects() > 1 {
		return nil, errkind.New(errkind.Invalid, "%s: several dialects in one filter: write one filter for each, or nest them in all", path)
	}
	var c eventfilter.Filter
	var err error
	switch {
	case len(f.Exact) > 0:
		c, err = leaf(subscriptionsapi.NewExactFilter, f.Exact, path+".exact")
	case len(f.Prefix) > 0:
		c, err = leaf(subscriptionsapi.NewPrefixFilter, f.Prefix, path+".prefix")
	case len(f.Suffix) > 0:
		c, err = leaf(subscriptionsapi.NewSuffixFilter, f.Suffix, path+".suffix")
	case len(f.All) > 0:
		var list []eventfilter.Filter
		list, err = compileAll(f.All, path+".all")
		c = all(list)
	case len(f.Any) > 0:
		var list []eventfilter.Filter
		list, err = compileAll(f.Any, path+".any")
		c = anyOf(list)
	case f.Not != nil:
		if c, err = compileOne(*f.Not, path+".not"); err == nil {
			c = subscriptionsapi.NewNotFilter(c)
		}
	case f.CESQL != "":
		c, err = parseCESQL(f.CESQL, path+".cesql")
	default:
		c = subscriptionsapi.NewNoFilter()
	}
	return c, err
}

// dialects counts the dialects that are set.
func (f Filter) dialects() int {
	n := 0
	for _, set := range []bool{
		len(f.Exact) > 0, len(f.Prefix) > 0, len(f.Suffix) > 0, len(f.All) > 0, len(f.Any) > 0, f.Not != nil, f.CESQL != "",
	} {
		if set {
			n++
		}
	}
	return n
}

func leaf(build func(map[string]string) (eventfilter.Filter, error), attrs map[string]string, path string) (eventfilter.Filter, error) {
	if err := checkNames(attrs, path); err != nil {
		return nil, err
	}
	f, err := build(attrs)
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "%s: %w", path, err)
	}
	return f, nil
}

var attributeName = regexp.MustCompile(`^[a-z][a-z0-9]*$`)

func checkNames(attrs map[string]string, path string) error {
	for name := range attrs {
		if !attributeName.MatchString(name) {
			return errkind.New(errkind.Invalid, "%s: attribute name %q: must start with a letter and hold lower-case letters and digits only", path, name)
		}
	}
	return nil
}

// parseCESQL guards against the parser, which panics on some input.
func parseCESQL(expr, path string) (f eventfilter.Filter, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errkind.New(errkind.Invalid, "%s %q: not understood: %v", path, expr, p)
		}
	}()
	f, err = subscriptionsapi.NewCESQLFilter(expr)
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "%s %q: %w", path, expr, err)
	}
	return cesql{inner: f}, nil
}

// cesql makes an expression whose value is not a truth value fail, where Knative's filter panics.
type cesql struct{ inner eventfilter.Filter }

func (f cesql) Filter(ctx context.Context, e event.Event) (result eventfilter.FilterResult) {
	defer func() {
		if recover() != nil {
			result = eventfilter.FailFilter
		}
	}()
	return f.inner.Filter(ctx, e)
}

// all and anyOf give the results of Knative's filters of these names. Those reorder their parts while they run, in
// goroutines that read what another one writes; a handful of filters gains nothing from that.
type (
	all   []eventfilter.Filter
	anyOf []eventfilter.Filter
)

func (f all) Filter(ctx context.Context, e event.Event) eventfilter.FilterResult {
	result := eventfilter.NoFilter
	for _, part := range f {
		if result = part.Filter(ctx, e); result == eventfilter.FailFilter {
			return result
		}
	}
	return result
}

func (f anyOf) Filter(ctx context.Context, e event.Event) eventfilter.FilterResult {
	result := eventfilter.NoFilter
	for _, part := range f {
		if result = part.Filter(ctx, e); result == eventfilter.PassFilter {
			return result
		}
	}
	return result
}

func (cesql) Cleanup() {}
func (all) Cleanup()   {}
func (anyOf) Cleanup() {}
