package backendtest

import "blockconsole/models/backend"

// SetQuota limits volumes, snapshots or gigabytes; a negative limit removes it.
func (f *Fake) SetQuota(what string, limit int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if limit < 0 {
		delete(f.quota, what)
		return
	}
	f.quota[what] = limit
}

// quotas are the limits of SetQuota and their use.
func (f *Fake) quotas() []backend.Quota {
	used := map[string]int64{"volumes": int64(len(f.volumes)), "snapshots": int64(len(f.snapshots)), "gigabytes": f.gigabytes()}
	var quotas []backend.Quota
	for _, what := range []string{"volumes", "snapshots", "gigabytes"} {
		if limit, ok := f.quota[what]; ok {
			quotas = append(quotas, backend.Quota{What: what, Used: used[what], Limit: limit})
		}
	}
	return quotas
}

// checkQuota answers CodeQuota when used and asked exceed the limit of what.
func (f *Fake) checkQuota(what string, used, asked int64) error {
	if limit, ok := f.quota[what]; ok && used+asked > limit {
		return &backend.Error{Code: backend.CodeQuota, What: what, Used: used, Limit: limit, Asked: asked}
	}
	return nil
}

func (f *Fake) gigabytes() int64 {
	var sum int64
	for _, v := range f.volumes {
		sum += int64(v.SizeGiB)
	}
	return sum
}
