package config

import (
	"strings"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// CredentialVariables are the names of the environment variables that hold the replica's static credentials, in an order
// that depends on the provider; none if it uses the provider's own credential chain.
//
//	s3      access key id, secret access key
//	gcs     path of a credentials file (a service account key, or workload identity federation)
//	azblob  key of the storage account
func (r Replica) CredentialVariables() []string {
	if r.Credentials == "" {
		return nil
	}
	base := variable(r.Credentials)
	switch r.Provider {
	case "gcs":
		return []string{base + "_CREDENTIALS_FILE"}
	case "azblob":
		return []string{base + "_ACCOUNT_KEY"}
	}
	return []string{base + "_ACCESS_KEY_ID", base + "_SECRET_ACCESS_KEY"}
}

// SecretVariable is the name of the environment variable that holds the secret of the rule's webhook, "" if it has none.
func (r ConflictRule) SecretVariable() string {
	if r.Secret == "" {
		return ""
	}
	return variable(r.Secret) + "_VERDICT_SECRET"
}

// variable is how the names of the environment variables of a name in the document begin.
func variable(name string) string {
	return "BUCKETMESH_" + strings.ReplaceAll(strings.ToUpper(name), "-", "_")
}

// lookup is os.LookupEnv, or like it.
type lookup = func(string) (string, bool)

// CheckEnvironment refuses a group whose secrets are not in the environment: CheckCredentials and CheckWebhooks in one.
func CheckEnvironment(g *Group, lookupEnv lookup) error {
	return checkEnvironment(lookupEnv, g.credentials, g.webhooks)
}

// CheckCredentials refuses a group whose static credentials are not in the environment. lookupEnv is os.LookupEnv or
// like it. The error is of kind Invalid and wraps Mistakes; it names variables, never values.
func CheckCredentials(g *Group, lookupEnv lookup) error {
	return checkEnvironment(lookupEnv, g.credentials)
}

// CheckWebhooks refuses a group whose webhooks' secrets are not in the environment. Only who settles conflicts needs them.
func CheckWebhooks(g *Group, lookupEnv lookup) error {
	return checkEnvironment(lookupEnv, g.webhooks)
}

func (g *Group) credentials(need func(path, name string)) {
	for i, r := range g.Replicas {
		for _, name := range r.CredentialVariables() {
			need(index("spec.replicas", i)+".url", name)
		}
	}
}

func (g *Group) webhooks(need func(path, name string)) {
	for i, r := range g.Conflicts {
		if name := r.SecretVariable(); name != "" {
			need(index("spec.conflicts", i)+".secret", name)
		}
	}
}

// checkEnvironment collects what each of the lists needs and does not find.
func checkEnvironment(lookupEnv lookup, lists ...func(need func(path, name string))) error {
	var c collector
	for _, list := range lists {
		list(func(path, name string) {
			problem := "which is not set"
			if value, ok := lookupEnv(name); ok {
				if value != "" {
					return
				}
				problem = "which is empty"
			}
			c.add(path, "", "needs the environment variable "+name+", "+problem, "set it, from a secret store or a Kubernetes secret")
		})
	}
	if len(c.mistakes) == 0 {
		return nil
	}
	return errkind.New(errkind.Invalid, "check environment: %w", c.sorted())
}
