package volume

import "slices"

// routes are the resources below /v3.
func routes() []route {
	return slices.Concat(volumeRoutes(), snapshotRoutes(), catalogRoutes(), attachmentRoutes(), absentRoutes())
}

func volumeRoutes() []route {
	return slices.Concat([]route{
		{"GET", "/volumes", (*call).listVolumes},
		{"POST", "/volumes", (*call).createVolume},
		{"GET", "/volumes/detail", (*call).listDetails},
		{"GET", "/volumes/summary", (*call).summarize},
		{"GET", "/volumes/{id}", (*call).showVolume},
		{"PUT", "/volumes/{id}", (*call).updateVolume},
		{"DELETE", "/volumes/{id}", (*call).deleteVolume},
		{"POST", "/volumes/{id}/action", (*call).actOnVolume},
		{"GET", "/volumes/{id}/encryption", (*call).showEncryption},
	}, ofVolume.routes("/volumes/{id}"))
}

func (h holder) routes(path string) []route {
	return []route{
		{"GET", path + "/metadata", h.show},
		{"POST", path + "/metadata", h.change(false)},
		{"PUT", path + "/metadata", h.change(true)},
		{"GET", path + "/metadata/{key}", h.showItem},
		{"PUT", path + "/metadata/{key}", h.changeItem},
		{"DELETE", path + "/metadata/{key}", h.removeItem},
	}
}

func snapshotRoutes() []route {
	return slices.Concat([]route{
		{"GET", "/snapshots", listSnapshots(false)},
		{"POST", "/snapshots", (*call).createSnapshot},
		{"GET", "/snapshots/detail", listSnapshots(true)},
		{"GET", "/snapshots/{id}", (*call).showSnapshot},
		{"PUT", "/snapshots/{id}", (*call).updateSnapshot},
		{"DELETE", "/snapshots/{id}", (*call).deleteSnapshot},
		{"POST", "/snapshots/{id}/action", (*call).actOnSnapshot},
	}, ofSnapshot.routes("/snapshots/{id}"))
}

func catalogRoutes() []route {
	return []route{
		{"GET", "/types", (*call).listTypes},
		{"POST", "/types", manager((*call).createType)},
		{"GET", "/types/{id}", (*call).showType},
		{"PUT", "/types/{id}", manager((*call).updateType)},
		{"DELETE", "/types/{id}", manager((*call).deleteType)},
		{"POST", "/types/{id}/action", manager((*call).actOnType)},
		{"GET", "/types/{id}/os-volume-type-access", manager((*call).listAccess)},
		{"GET", "/types/{id}/extra_specs", (*call).showSpecs},
		{"POST", "/types/{id}/extra_specs", manager((*call).setSpecs)},
		{"GET", "/types/{id}/extra_specs/{key}", (*call).showSpec},
		{"PUT", "/types/{id}/extra_specs/{key}", manager((*call).setSpec)},
		{"DELETE", "/types/{id}/extra_specs/{key}", manager((*call).deleteSpec)},
		{"GET", "/types/{id}/encryption", (*call).showTypeEncryption},
		{"POST", "/types/{id}/encryption", manager((*call).createEncryption)},
		{"GET", "/types/{id}/encryption/{key}", (*call).showEncryptionItem},
		{"PUT", "/types/{id}/encryption/{key}", manager((*call).updateEncryption)},
		{"DELETE", "/types/{id}/encryption/{key}", manager((*call).deleteEncryption)},
		{"GET", "/os-quota-sets/{project}", (*call).showQuotas},
		{"PUT", "/os-quota-sets/{project}", (*call).updateQuotas},
		{"DELETE", "/os-quota-sets/{project}", (*call).deleteQuotas},
		{"GET", "/os-quota-sets/{project}/defaults", (*call).showDefaultQuotas},
		{"GET", "/os-quota-class-sets/{class}", (*call).showQuotaClass},
		{"PUT", "/os-quota-class-sets/{class}", never("changing the default quota")},
		{"GET", "/limits", (*call).showLimits},
		{"GET", "/os-availability-zone", (*call).listZones},
		{"GET", "/os-services", (*call).listServices},
		{"GET", "/scheduler-stats/get_pools", (*call).listPools},
	}
}

func attachmentRoutes() []route {
	return []route{
		{"GET", "/attachments", listAttachments(false)},
		{"POST", "/attachments", (*call).createAttachment},
		{"GET", "/attachments/detail", listAttachments(true)},
		{"GET", "/attachments/{id}", (*call).showAttachment},
		{"PUT", "/attachments/{id}", (*call).updateAttachment},
		{"DELETE", "/attachments/{id}", (*call).deleteAttachment},
		{"POST", "/attachments/{id}/action", (*call).completeAttachment},
	}
}

// absentRoutes answer for what there is none of.
func absentRoutes() []route {
	all := []route{
		{"GET", "/extensions", nothing("extensions")},
		{"GET", "/messages", nothing("messages")},
		{"GET", "/qos-specs", nothing("qos_specs")},
		{"GET", "/os-volume-transfer", nothing("transfers")},
		{"GET", "/os-volume-transfer/detail", nothing("transfers")},
		{"GET", "/volume-transfers", nothing("transfers")},
		{"GET", "/volume-transfers/detail", nothing("transfers")},
		{"GET", "/default-types", nothing("default_types")},
		{"POST", "/os-volume-transfer", never("giving volumes to other projects")},
		{"POST", "/volume-transfers", never("giving volumes to other projects")},
	}
	for path, what := range map[string]string{"backups": "Backup", "groups": "Group", "group_snapshots": "GroupSnapshot", "consistencygroups": "ConsistencyGroup"} {
		all = append(all, route{"GET", "/" + path, nothing(path)}, route{"GET", "/" + path + "/detail", nothing(path)},
			route{"POST", "/" + path, never(path)}, route{"GET", "/" + path + "/{id}", noneOf(what)},
			route{"PUT", "/" + path + "/{id}", noneOf(what)}, route{"DELETE", "/" + path + "/{id}", noneOf(what)})
	}
	return all
}
