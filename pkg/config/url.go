package config

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

var (
	dnsLabel       = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	regionName     = regexp.MustCompile(`^[a-z0-9][-a-z0-9]{0,31}$`)
	credentialName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,31}$`)
	// An access key id is no secret, but where one was pasted the secret is next.
	accessKeyID = regexp.MustCompile(`^(AKIA|ASIA)[A-Z0-9]{16}$`)
)

// maxPrefix leaves room for keys: S3 and GCS take 1,024 bytes in all.
const maxPrefix = 512

// parameters of a replica's URL, per scheme.
var parameters = map[string][]string{
	"s3":     {"region", "endpoint", "pathStyle", "dialect", "credentials"},
	"gs":     {"endpoint", "credentials"},
	"azblob": {"endpoint", "credentials"},
}

// providerOf the URL schemes.
var providerOf = map[string]string{"s3": "s3", "gs": "gcs", "azblob": "azblob", "mem": "mem"}

// replicaURL fills in what the URL of a replica says.
func (v *validator) replicaURL(path string, r *Replica) {
	const mend = "write s3://BUCKET[/PREFIX], gs://BUCKET[/PREFIX] or azblob://ACCOUNT/CONTAINER[/PREFIX]"
	u, err := url.Parse(r.URL)
	if err != nil {
		// The error of url.Parse repeats the URL, and this one may hold a secret.
		v.add(path, "", "is not a URL", mend)
		return
	}
	if u.User != nil {
		v.add(path, "", "holds credentials (the value is not shown)", credentialsMend)
		return
	}
	bare := u.Scheme + "://" + u.Host
	if !strings.Contains(u.Path, "@") { // else it may be the end of a secret that has a slash in it
		bare += u.EscapedPath()
	}
	provider, known := providerOf[u.Scheme]
	switch {
	case u.Host == "":
		v.add(path, "", "is not the URL of a bucket", mend)
		return
	case !known:
		v.add(path, quote(bare), "is not the URL of a bucket", mend)
		return
	case u.Fragment != "":
		v.add(path, quote(bare), "is followed by a fragment", `write "#" as %23 if it is part of the prefix`)
		return
	case !slices.Contains(v.providers, provider):
		v.add(path, quote(bare), fmt.Sprintf("needs the provider %s, which is not yet supported by this build", provider),
			"use a program that has it, or one of "+strings.Join(v.providers, ", "))
		return
	}
	r.Provider, r.Bucket = provider, u.Host
	key := strings.TrimPrefix(u.Path, "/")
	if provider == "azblob" {
		r.Account = u.Host
		r.Bucket, key, _ = strings.Cut(key, "/")
	}
	v.bucket(path, bare, r)
	v.prefix(path, bare, key, r)
	v.parameters(path, u, r)
}

func (v *validator) prefix(path, bare, key string, r *Replica) {
	if key == "" {
		return
	}
	r.Prefix = strings.TrimSuffix(key, "/") + "/"
	segments := strings.Split(strings.TrimSuffix(key, "/"), "/")
	switch {
	case slices.Contains(segments, "") || slices.Contains(segments, ".") || slices.Contains(segments, ".."):
		v.add(path, quote(bare), `has an empty, "." or ".." element in the prefix`, "write the prefix as names with single slashes between them")
	case !utf8.ValidString(key) || len(key) > maxPrefix:
		v.add(path, quote(bare), fmt.Sprintf("has a prefix that is longer than %d bytes or not UTF-8", maxPrefix), "use a shorter prefix")
	case strings.HasPrefix(r.Prefix, ReservedPrefix) || strings.HasPrefix(r.Prefix, ConflictPrefix):
		v.add(path, quote(bare), "has a reserved prefix", "use a prefix that does not begin with "+ReservedPrefix+" or "+ConflictPrefix)
	}
}

const credentialsMend = "remove them; credentials come from the environment: ?credentials=NAME says from which variables, " +
	"and without it the provider's own chain is asked"

// looksSecret are parameters of other programs' URLs that carry credentials.
func looksSecret(name string) bool {
	if name = strings.ToLower(name); name == "credentials" {
		return false // ours, and a name only
	}
	return slices.ContainsFunc([]string{"secret", "key", "token", "password", "sig", "credential"}, func(word string) bool {
		return strings.Contains(name, word)
	})
}

func (v *validator) parameters(path string, u *url.URL, r *Replica) {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		v.add(path, "", "has parameters that can't be read", "write ?name=value&name=value, with special characters as %XX")
		return
	}
	known, before := parameters[u.Scheme], len(v.mistakes)
	for _, name := range sortedKeys(query) {
		switch {
		case !slices.Contains(known, name) && looksSecret(name):
			v.add(path, "", fmt.Sprintf("holds credentials in the parameter %s (the value is not shown)", quote(name)), credentialsMend)
		case !slices.Contains(known, name) && len(known) == 0:
			v.add(path, "", fmt.Sprintf("has the parameter %s, and %s:// URLs have none", quote(name), u.Scheme), "remove it")
		case !slices.Contains(known, name):
			v.add(path, "", fmt.Sprintf("has the unknown parameter %s", quote(name)), suggest(name, known))
		case len(query[name]) > 1:
			v.add(path, "", fmt.Sprintf("has the parameter %s twice", quote(name)), "remove one of the two")
		case query[name][0] == "":
			v.add(path, "", fmt.Sprintf("has the parameter %s without a value", quote(name)), "remove it or give it a value")
		}
	}
	if len(v.mistakes) > before {
		return
	}
	if query.Has("endpoint") {
		r.Endpoint = v.endpoint(path, query.Get("endpoint"))
	}
	r.Credentials = v.credentials(path, query.Get("credentials"), r.Provider)
	switch r.Provider {
	case "s3":
		v.s3(path, query, r)
	case "gcs":
		v.notOwn(path, r, "Google", "googleapis.com")
	case "azblob":
		v.notOwn(path, r, "Azure", "core.windows.net", "core.chinacloudapi.cn", "core.usgovcloudapi.net", "storage.azure.net")
	}
}

// credentials is the name of static credentials; it is not repeated where it is none, because it may be one of them.
func (v *validator) credentials(path, name, provider string) string {
	if name == "" || (credentialName.MatchString(name) && !accessKeyID.MatchString(name)) {
		return name
	}
	example := Replica{Provider: provider, Credentials: "EU"}
	v.add(path, "", "has credentials that are not a name (the value is not shown)",
		"write a name of letters, digits, - and _ , such as credentials=EU for "+strings.Join(example.CredentialVariables(), " and "))
	return ""
}

// notOwn refuses the provider's own endpoints: at other endpoints nothing is in the host name, no scope of a real cloud's
// tokens holds, and one bucket would go by two names.
func (v *validator) notOwn(path string, r *Replica, whose string, domains ...string) {
	e, err := url.Parse(r.Endpoint)
	if err != nil {
		return
	}
	for _, domain := range domains {
		if host := e.Hostname(); host == domain || strings.HasSuffix(host, "."+domain) {
			v.add(path, "endpoint "+quote(r.Endpoint), "is "+whose+"'s own", "remove it: without an endpoint "+whose+" is asked")
		}
	}
}

// s3 reads the parameters of s3:// URLs, which are all known and there once.
func (v *validator) s3(path string, query url.Values, r *Replica) {
	r.Region, r.Dialect = query.Get("region"), query.Get("dialect")
	compatible := query.Has("endpoint") && !isAmazon(r.Endpoint)
	switch {
	case r.Region != "" && !regionName.MatchString(r.Region):
		v.add(path, "region "+quote(r.Region), "is not a region", "write a region such as eu-central-1")
	case r.Region == "" && compatible:
		r.Region = "us-east-1" // what S3-compatible servers take unless told otherwise; it is only part of the signature
	case r.Region == "":
		v.add(path, "", "names no region", "add ?region=, such as ?region=eu-central-1")
	}
	switch {
	case r.Dialect != "" && !slices.Contains(dialects, r.Dialect):
		v.add(path, "dialect "+quote(r.Dialect), "is not a dialect", "use one of "+strings.Join(dialects, ", "))
	case r.Dialect == "" && compatible:
		v.add(path, "", "names no dialect of notifications, and it can't be guessed: servers that call themselves aws:s3 write keys differently",
			"add dialect=, one of "+strings.Join(dialects, ", "))
	case r.Dialect == "":
		r.Dialect = "aws"
	case r.Dialect != "aws" && !compatible:
		v.add(path, "dialect "+quote(r.Dialect), "is not the dialect of Amazon S3", "remove it, or add the endpoint= of the server")
	}
	switch s := query.Get("pathStyle"); s {
	case "":
		r.PathStyle = compatible
	case "true", "false":
		r.PathStyle = s == "true"
	default:
		v.add(path, "pathStyle "+quote(s), "is not true or false", "write pathStyle=true or pathStyle=false")
	}
}

// endpoint is an endpoint in the one form that identifies a store: lower case, no default port, no trailing slash.
func (v *validator) endpoint(path, s string) string {
	const mend = "write http(s)://HOST[:PORT] and nothing else"
	e, err := url.Parse(s)
	if err != nil {
		v.add(path, "", "has an endpoint that is not a URL", mend)
		return ""
	}
	if e.User != nil {
		v.add(path, "", "holds credentials in the endpoint (the value is not shown)", credentialsMend)
		return ""
	}
	scheme, host := strings.ToLower(e.Scheme), strings.ToLower(e.Host)
	if (scheme != "http" && scheme != "https") || e.Hostname() == "" {
		// What has no scheme and host can be anything; it is not repeated.
		v.add(path, "", "has an endpoint that is not an absolute http(s) URL", mend)
		return ""
	}
	if e.RawQuery != "" || e.ForceQuery || e.Fragment != "" || (e.Path != "" && e.Path != "/") {
		v.add(path, "endpoint "+quote(scheme+"://"+host), "is followed by a path, a query or a fragment", mend)
		return ""
	}
	if port := e.Port(); (scheme == "http" && port == "80") || (scheme == "https" && port == "443") || strings.HasSuffix(host, ":") {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return scheme + "://" + host
}

// isAmazon reports whether an endpoint is one of Amazon's own (regional, FIPS, VPC).
func isAmazon(endpoint string) bool {
	_, host, _ := strings.Cut(endpoint, "://")
	host, _, _ = strings.Cut(host, ":")
	return strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn")
}

// store identifies where a bucket is, for the search of overlaps: Amazon's bucket names are unique over all regions.
func (r Replica) store() string {
	if r.Provider == "s3" && (r.Endpoint == "" || isAmazon(r.Endpoint)) {
		return "s3 " + r.Bucket
	}
	return r.Source()
}
