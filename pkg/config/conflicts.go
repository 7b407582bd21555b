package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const maxExpression = 2048 // bytes, as in the schema

func (v *validator) conflicts(in []conflictRule, replicas []Replica) []ConflictRule {
	const path = "spec.conflicts"
	switch {
	case in != nil && len(in) == 0:
		v.add(path, "", "is an empty list", "remove it to keep both everywhere")
	case len(in) > maxPatterns:
		v.add(path, "", fmt.Sprintf("has %d rules", len(in)), fmt.Sprintf("use at most %d", maxPatterns))
		in = in[:maxPatterns]
	}
	out := make([]ConflictRule, 0, len(in)+1)
	seen, caught := map[string]int{}, -1
	for i, doc := range in {
		at := index(path, i)
		if !v.missing(at+".match", doc.Match, `write a pattern; "**" is all keys`) {
			v.pattern(at+".match", doc.Match)
			first, twice := seen[doc.Match]
			switch {
			case caught >= 0:
				v.add(at+".match", quote(doc.Match), `is never reached: "**" in `+index(path, caught)+" matches every key", "move this rule above that one")
			case twice:
				v.add(at+".match", quote(doc.Match), "is never reached: "+index(path, first)+" has the same pattern", "remove one of the two")
			default:
				seen[doc.Match] = i
			}
			if doc.Match == everything && caught < 0 {
				caught = i
			}
		}
		out = append(out, v.rule(at, doc, replicas))
	}
	if caught < 0 {
		out = append(out, ConflictRule{Match: everything, Policy: KeepBoth})
	}
	return out
}

// rule checks what a policy needs and what it has no use for. Of a policy that is not known, nothing can be said.
func (v *validator) rule(at string, doc conflictRule, replicas []Replica) ConflictRule {
	r := ConflictRule{Match: doc.Match, Policy: Policy(doc.Policy)}
	if v.missing(at+".policy", doc.Policy, "use one of "+strings.Join(policies, ", ")) {
		return r
	}
	if !slices.Contains(policies, doc.Policy) {
		v.add(at+".policy", quote(doc.Policy), "is not a conflict policy of this version", suggest(doc.Policy, policies))
		return r
	}
	v.foreign(at, doc)
	r.Discard = r.Policy == LastWriterWins && value(doc.Discard, false)
	if r.Policy.HasFallback() {
		r.Fallback = KeepBoth
		if doc.Fallback != "" {
			r.Fallback = Policy(doc.Fallback)
			v.choice(at+".fallback", doc.Fallback, "a policy that can decide by itself", fallbacks)
		}
	}
	if r.Policy == Primary || r.Fallback == Primary {
		r.Order = v.order(at+".order", doc.Order, replicas)
	}
	switch r.Policy {
	case Quorum:
		if len(replicas) == 2 {
			v.add(at+".policy", quote(doc.Policy), "never decides in a group of two replicas: in a conflict each has a content of its own", "use keep-both or primary")
		}
	case CEL:
		r.Expression = doc.Expression
		v.ranking(at+".expression", doc.Expression)
	case Merge:
		r.Format = FormatAuto
		if doc.Format != "" {
			r.Format = Format(doc.Format)
			v.choice(at+".format", doc.Format, "a format that can be merged", formats)
		}
		r.MaxSize = v.size(at+".maxSize", doc.MaxSize, minMaxSize, maxMaxSize, DefaultMaxSize, false)
	case Manual:
		r.Deadline = v.duration(at+".deadline", doc.Deadline, minDeadline, maxDeadline, 72*time.Hour)
	case Webhook:
		r.Deadline = v.duration(at+".deadline", doc.Deadline, minDeadline, maxDeadline, time.Minute)
		r.URL = v.hook(at+".url", doc.URL)
		r.Secret = v.secret(at+".secret", doc.Secret)
	default: // has nothing else
	}
	return r
}

// foreign refuses fields that the policy has no use for: who wrote them expects something that will not happen.
func (v *validator) foreign(at string, doc conflictRule) {
	p := Policy(doc.Policy)
	for _, f := range []struct {
		name  string
		there bool
		of    []Policy
		mend  string
	}{
		{"order", doc.Order != nil && Policy(doc.Fallback) != Primary, []Policy{Primary}, "remove it, or write policy: primary"},
		{"discard", doc.Discard != nil, []Policy{LastWriterWins}, "remove it: " + doc.Policy + " always keeps the losers"},
		{"expression", doc.Expression != "", []Policy{CEL}, "remove it, or write policy: cel"},
		{"fallback", doc.Fallback != "", []Policy{Quorum, Merge, Manual, Webhook}, "remove it: " + doc.Policy + " always decides"},
		{"deadline", doc.Deadline != nil, []Policy{Manual, Webhook}, "remove it: " + doc.Policy + " waits for nobody"},
		{"format", doc.Format != "", []Policy{Merge}, "remove it, or write policy: merge"},
		{"maxSize", doc.MaxSize != nil, []Policy{Merge}, "remove it, or write policy: merge"},
		{"url", doc.URL != "", []Policy{Webhook}, "remove it, or write policy: webhook"},
		{"secret", doc.Secret != "", []Policy{Webhook}, "remove it, or write policy: webhook"},
	} {
		if !f.there || slices.Contains(f.of, p) {
			continue
		}
		names := make([]string, len(f.of))
		for i, of := range f.of {
			names[i] = string(of)
		}
		problem := "belongs to the policy " + names[0]
		if n := len(names); n > 1 {
			problem = "belongs to the policies " + strings.Join(names[:n-1], ", ") + " and " + names[n-1]
		}
		shown := "" // a text of the wrong field may be a secret
		if f.name == "discard" {
			shown = fmt.Sprint(*doc.Discard)
		}
		v.add(at+"."+f.name, shown, problem, f.mend)
	}
}

// order checks the order of a primary rule and completes it, so that it ranks every replica.
func (v *validator) order(path string, in []string, replicas []Replica) []string {
	if len(in) == 0 && !v.blocked(path) {
		v.add(path, "", "is missing or empty", "list the names of replicas, best first")
	}
	if len(in) > maxReplicas {
		v.add(path, "", fmt.Sprintf("has %d names", len(in)), fmt.Sprintf("use at most %d", maxReplicas))
		in = nil
	}
	names := make([]string, 0, len(replicas))
	for _, r := range replicas {
		if r.Name != "" && !slices.Contains(names, r.Name) {
			names = append(names, r.Name)
		}
	}
	out := make([]string, 0, len(replicas))
	for i, name := range in {
		switch {
		case v.blocked(index(path, i)):
		case !slices.Contains(names, name):
			v.add(index(path, i), quote(name), "is not a replica", "use one of "+strings.Join(names, ", "))
		case slices.Contains(out, name):
			v.add(index(path, i), quote(name), "is there twice", "remove one of the two")
		default:
			out = append(out, name)
		}
	}
	for _, name := range names {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// ranking checks the expression of a cel rule.
func (v *validator) ranking(path, expression string) {
	const mend = `write what ranks one write, such as head.kind == "put" ? head.size : 0; it knows ` +
		"head.replica, head.kind, head.size, head.writtenAt, head.holders and replicas"
	switch {
	case v.missing(path, expression, mend):
	case len(expression) > maxExpression:
		v.add(path, "", fmt.Sprintf("is longer than %d bytes", maxExpression), "use a shorter expression")
	case v.expression != nil:
		if err := v.expression(expression); err != nil {
			v.add(path, quote(expression), "is refused at "+err.Error(), mend)
		}
	}
}

// hook is the URL of a webhook.
func (v *validator) hook(path, value string) string {
	const mend = "write the https URL of the webhook"
	switch {
	case v.missing(path, value, mend):
	case len(value) > maxURL:
		v.add(path, "", fmt.Sprintf("is longer than %d bytes", maxURL), "use a shorter URL")
	default:
		v.webURL(path, value, mend)
	}
	return value
}

// secret is the name of a webhook's secret; it is not repeated where it is none, because it may be the secret.
func (v *validator) secret(path, name string) string {
	mend := "write a name of letters, digits, - and _ , such as verdicts for the environment variable " + ConflictRule{Secret: "verdicts"}.SecretVariable()
	if !v.missing(path, name, mend) && (!credentialName.MatchString(name) || accessKeyID.MatchString(name)) {
		v.add(path, "", "is not a name (the value is not shown)", mend)
	}
	return name
}

// document is what Marshal writes.
func (r ConflictRule) document() conflictRule {
	out := conflictRule{
		Match: r.Match, Policy: string(r.Policy), Order: r.Order, Expression: r.Expression, Fallback: string(r.Fallback),
		Format: string(r.Format), URL: r.URL, Secret: r.Secret,
	}
	if r.Policy == LastWriterWins {
		out.Discard = new(r.Discard)
	}
	if r.Deadline != 0 {
		out.Deadline = new(duration(formatDuration(r.Deadline)))
	}
	if r.MaxSize != 0 {
		out.MaxSize = new(size(formatSize(r.MaxSize)))
	}
	return out
}
