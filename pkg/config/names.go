package config

import (
	"net"
	"regexp"
	"slices"
	"strings"
)

// What providers take as names. A name that is wrong is refused here, with the rule, and not later by the provider, with less.
var (
	bucketName    = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$`)
	gcsBucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$`)
	accountName   = regexp.MustCompile(`^[a-z0-9]{3,24}$`)
	azureName     = regexp.MustCompile(`^[a-z0-9](-?[a-z0-9])+$`) // of a container or a queue, but for its length
)

func isBucketName(s string) bool {
	return bucketName.MatchString(s) && net.ParseIP(s) == nil && !strings.Contains(s, "..")
}

// isGCSBucketName: names with dots may be longer, but no element of them; names of Google are not to be had.
func isGCSBucketName(s string) bool {
	tooLong := func(element string) bool { return element == "" || len(element) > 63 }
	return gcsBucketName.MatchString(s) && net.ParseIP(s) == nil && !slices.ContainsFunc(strings.Split(s, "."), tooLong) &&
		!strings.HasPrefix(s, "goog") && !strings.Contains(s, "google")
}

func isAzureName(s string) bool { return len(s) >= 3 && len(s) <= 63 && azureName.MatchString(s) }

func (v *validator) bucket(path, bare string, r *Replica) {
	switch {
	case r.Provider == "azblob" && !accountName.MatchString(r.Account):
		v.add(path, quote(bare), "names no valid storage account", "use 3 to 24 lower-case letters and digits")
	case r.Provider == "azblob" && !isAzureName(r.Bucket):
		v.add(path, quote(bare), "names no valid container", "write azblob://ACCOUNT/CONTAINER, the container in 3 to 63 lower-case letters, digits and single hyphens")
	case r.Provider == "gcs" && !isGCSBucketName(r.Bucket):
		v.add(path, quote(bare), "names no valid bucket", "use 3 to 63 lower-case letters, digits, hyphens and underscores, or up to 222 with dots "+
			`between parts of at most 63; not an address, not "google", and no "goog" at the beginning`)
	case (r.Provider == "s3" || r.Provider == "mem") && !isBucketName(r.Bucket):
		v.add(path, quote(bare), "names no valid bucket", "use 3 to 63 lower-case letters, digits, hyphens and dots")
	}
}
