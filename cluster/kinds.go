package cluster

import (
	"fmt"
	"strings"
)

// newOp makes an empty op of each kind, for the decoder.
var newOp = [...]func() Op{
	KindInitCluster:      func() Op { return new(InitCluster) },
	KindPutAuthority:     func() Op { return new(PutAuthority) },
	KindPutJoinToken:     func() Op { return new(PutJoinToken) },
	KindDeleteJoinToken:  func() Op { return new(DeleteJoinToken) },
	KindEnrolNode:        func() Op { return new(EnrolNode) },
	KindUpdateNode:       func() Op { return new(UpdateNode) },
	KindSetNodeService:   func() Op { return new(SetNodeService) },
	KindRemoveNode:       func() Op { return new(RemoveNode) },
	KindPutProject:       func() Op { return new(PutProject) },
	KindDeleteProject:    func() Op { return new(DeleteProject) },
	KindPutUser:          func() Op { return new(PutUser) },
	KindDeleteUser:       func() Op { return new(DeleteUser) },
	KindPutRole:          func() Op { return new(PutRole) },
	KindDeleteRole:       func() Op { return new(DeleteRole) },
	KindPutAssignment:    func() Op { return new(PutAssignment) },
	KindDeleteAssignment: func() Op { return new(DeleteAssignment) },
	KindPutCredential:    func() Op { return new(PutCredential) },
	KindDeleteCredential: func() Op { return new(DeleteCredential) },
	KindRevokeToken:      func() Op { return new(RevokeToken) },
	KindPutImage:         func() Op { return new(PutImage) },
	KindDeleteImage:      func() Op { return new(DeleteImage) },
	KindAddImageNode:     func() Op { return new(AddImageNode) },
	KindPutFlavor:        func() Op { return new(PutFlavor) },
	KindDeleteFlavor:     func() Op { return new(DeleteFlavor) },
	KindCreateKeyPair:    func() Op { return new(CreateKeyPair) },
	KindDeleteKeyPair:    func() Op { return new(DeleteKeyPair) },
	KindPutNetwork:       func() Op { return new(PutNetwork) },
	KindDeleteNetwork:    func() Op { return new(DeleteNetwork) },
	KindPutSubnet:        func() Op { return new(PutSubnet) },
	KindDeleteSubnet:     func() Op { return new(DeleteSubnet) },
	KindPutPort:          func() Op { return new(PutPort) },
	KindDeletePort:       func() Op { return new(DeletePort) },
	KindPutQuota:         func() Op { return new(PutQuota) },
	KindDeleteQuota:      func() Op { return new(DeleteQuota) },
	KindCreateInstances:  func() Op { return new(CreateInstances) },
	KindPlaceInstance:    func() Op { return new(PlaceInstance) },
	KindUpdateInstance:   func() Op { return new(UpdateInstance) },
	KindSetPower:         func() Op { return new(SetPower) },
	KindDeleteInstance:   func() Op { return new(DeleteInstance) },
	KindReportInstances:  func() Op { return new(ReportInstances) },
	KindForgetInstance:   func() Op { return new(ForgetInstance) },
	KindRebuildInstance:  func() Op { return new(RebuildInstance) },
	KindRescueInstance:   func() Op { return new(RescueInstance) },
	KindBeginMove:        func() Op { return new(BeginMove) },
	KindPlaceMove:        func() Op { return new(PlaceMove) },
	KindEndMove:          func() Op { return new(EndMove) },
	KindSignalMove:       func() Op { return new(SignalMove) },
	KindBeginCapture:     func() Op { return new(BeginCapture) },
	KindAdvanceOperation: func() Op { return new(AdvanceOperation) },
	KindUnshelveInstance: func() Op { return new(UnshelveInstance) },
	KindRestoreInstance:  func() Op { return new(RestoreInstance) },
	KindResetInstance:    func() Op { return new(ResetInstance) },
	KindAttachPort:       func() Op { return new(AttachPort) },
	KindStopAwaiting:     func() Op { return new(StopAwaiting) },
	KindDetachPort:       func() Op { return new(DetachPort) },
	KindAddConsoleToken:  func() Op { return new(AddConsoleToken) },
	KindUseConsoleToken:  func() Op { return new(UseConsoleToken) },

	KindCreateServerGroup: func() Op { return new(CreateServerGroup) },
	KindDeleteServerGroup: func() Op { return new(DeleteServerGroup) },
	KindPutAggregate:      func() Op { return new(PutAggregate) },
	KindDeleteAggregate:   func() Op { return new(DeleteAggregate) },
	KindPutQuotaClass:     func() Op { return new(PutQuotaClass) },
	KindRecordAction:      func() Op { return new(RecordAction) },

	KindCreateVolume:         func() Op { return new(CreateVolume) },
	KindUpdateVolume:         func() Op { return new(UpdateVolume) },
	KindDeleteVolume:         func() Op { return new(DeleteVolume) },
	KindExtendVolume:         func() Op { return new(ExtendVolume) },
	KindAttachVolume:         func() Op { return new(AttachVolume) },
	KindDetachVolume:         func() Op { return new(DetachVolume) },
	KindUpdateAttachment:     func() Op { return new(UpdateAttachment) },
	KindUploadVolume:         func() Op { return new(UploadVolume) },
	KindCreateVolumeSnapshot: func() Op { return new(CreateVolumeSnapshot) },
	KindUpdateVolumeSnapshot: func() Op { return new(UpdateVolumeSnapshot) },
	KindDeleteVolumeSnapshot: func() Op { return new(DeleteVolumeSnapshot) },
	KindReportVolumes:        func() Op { return new(ReportVolumes) },
	KindCaptureVolumes:       func() Op { return new(CaptureVolumes) },
	KindTendVolumes:          func() Op { return new(TendVolumes) },
	KindPutVolumeType:        func() Op { return new(PutVolumeType) },
	KindDeleteVolumeType:     func() Op { return new(DeleteVolumeType) },

	KindBeginTerm:   func() Op { return new(BeginTerm) },
	KindLoseNode:    func() Op { return new(LoseNode) },
	KindReturnNode:  func() Op { return new(ReturnNode) },
	KindPutSettings: func() Op { return new(PutSettings) },

	KindGuardInstances: func() Op { return new(GuardInstances) },

	KindPlaceReplica:  func() Op { return new(PlaceReplica) },
	KindReportReplica: func() Op { return new(ReportReplica) },

	KindRetireReplica: func() Op { return new(RetireReplica) },

	KindBeginRotation:   func() Op { return new(BeginRotation) },
	KindConfirmKeys:     func() Op { return new(ConfirmKeys) },
	KindAdvanceRotation: func() Op { return new(AdvanceRotation) },
	KindRelocateNode:    func() Op { return new(RelocateNode) },

	KindRestoreCluster: func() Op { return new(RestoreCluster) },
	KindConfirmRestore: func() Op { return new(ConfirmRestore) },
	KindRecoverCluster: func() Op { return new(RecoverCluster) },
}

// Known tells whether this build can decode and apply commands of the kind.
func (k Kind) Known() bool { return int(k) < len(newOp) && newOp[k] != nil }

// String names the kind as its Go type is named, for logs.
func (k Kind) String() string {
	if !k.Known() {
		return fmt.Sprintf("Kind(%d)", uint16(k))
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", newOp[k]()), "*cluster.")
}
