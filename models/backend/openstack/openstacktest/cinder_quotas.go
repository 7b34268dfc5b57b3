package openstacktest

import "net/http"

// SetQuota sets a quota of a project: volumes, snapshots, gigabytes,
// per_volume_gigabytes, or one of the first three for a volume type, such as
// gigabytes_ceph. A negative limit is no limit.
func (c *Cloud) SetQuota(project Project, what string, limit int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.projectByID(project.ID).quotas[what] = limit
}

var quotaDefaults = map[string]int{
	"volumes": 10, "snapshots": 10, "gigabytes": 1000, "backups": 10, "backup_gigabytes": 1000, "groups": 10, "per_volume_gigabytes": -1,
}

func (p *project) limit(what string) int {
	if n, set := p.quotas[what]; set {
		return n
	}
	if n, set := quotaDefaults[what]; set {
		return n
	}
	return -1
}

// usage is what a project uses of its quotas. A snapshot uses its volume's whole size.
func (c *Cloud) usage(p *project) map[string]int {
	used := map[string]int{}
	count := func(what string, kind *volumeType, n int) {
		used[what] += n
		used[what+"_"+kind.name] += n
	}
	for _, v := range c.volumes {
		if v.project == p.ID {
			count("volumes", v.kind, 1)
			count("gigabytes", v.kind, v.size)
		}
	}
	for _, s := range c.snapshots {
		if s.project == p.ID {
			count("snapshots", s.kind, 1)
			count("gigabytes", s.kind, s.size)
		}
	}
	return used
}

// checkQuota refuses what exceeds a quota, in Cinder's order and texts.
func (c *Cloud) checkQuota(p *project, kind *volumeType, asked map[string]int) error {
	used := c.usage(p)
	if asked["volumes"] > 0 && p.limit("per_volume_gigabytes") >= 0 && asked["gigabytes"] > p.limit("per_volume_gigabytes") {
		return overLimit("VolumeSizeExceedsLimit: Requested volume size %dG is larger than maximum allowed limit %dG.", asked["gigabytes"], p.limit("per_volume_gigabytes"))
	}
	for _, what := range []string{"gigabytes", "snapshots", "volumes"} {
		for _, name := range []string{what, what + "_" + kind.name} {
			limit := p.limit(name)
			if asked[what] == 0 || limit < 0 || used[name]+asked[what] <= limit {
				continue
			}
			switch what {
			case "gigabytes":
				return overLimit("VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed %s quota. Requested %dG, quota is %dG and %dG has been consumed.",
					name, asked[what], limit, used[name])
			case "snapshots":
				return overLimit("SnapshotLimitExceeded: Maximum number of snapshots allowed (%d) exceeded", limit)
			default:
				return overLimit("VolumeLimitExceeded: Maximum number of volumes allowed (%d) exceeded for quota '%s'.", limit, name)
			}
		}
	}
	return nil
}

// showQuotas answers GET /os-quota-sets/{project}.
func (c *Cloud) showQuotas(cl *call, path []string) (response, error) {
	p := c.projectByID(path[1])
	if !cl.canSee(path[1]) {
		return response{}, forbidden("volume_extension:quotas:show")
	}
	if p == nil {
		return response{}, faultf(http.StatusNotFound, "Project %s could not be found.", path[1])
	}
	names := []string{"volumes", "snapshots", "gigabytes", "backups", "backup_gigabytes", "groups", "per_volume_gigabytes"}
	for _, t := range c.types {
		names = append(names, "volumes_"+t.name, "snapshots_"+t.name, "gigabytes_"+t.name)
	}
	used, set := c.usage(p), map[string]any{"id": p.ID}
	for _, name := range names {
		if !parseBool(cl.query.Get("usage")) {
			set[name] = p.limit(name)
			continue
		}
		set[name] = map[string]any{"limit": p.limit(name), "in_use": used[name], "reserved": 0}
	}
	return okResponse(map[string]any{"quota_set": set}), nil
}

// showLimits answers GET /limits of the caller's project.
func (c *Cloud) showLimits(cl *call, _ []string) (response, error) {
	p := cl.token.project
	used := c.usage(p)
	return okResponse(map[string]any{"limits": map[string]any{"rate": []any{}, "absolute": map[string]any{
		"maxTotalVolumes": p.limit("volumes"), "maxTotalSnapshots": p.limit("snapshots"), "maxTotalVolumeGigabytes": p.limit("gigabytes"),
		"maxTotalBackups": p.limit("backups"), "maxTotalBackupGigabytes": p.limit("backup_gigabytes"),
		"totalVolumesUsed": used["volumes"], "totalGigabytesUsed": used["gigabytes"], "totalSnapshotsUsed": used["snapshots"],
		"totalBackupsUsed": 0, "totalBackupGigabytesUsed": 0,
	}}}), nil
}
