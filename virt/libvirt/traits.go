package libvirt

// x86Traits names the traits of CPU features: libvirt's name for the feature, and os-traits' for the trait.
var x86Traits = map[string]string{
	"3dnow": "HW_CPU_X86_3DNOW", "abm": "HW_CPU_X86_ABM", "aes": "HW_CPU_X86_AESNI",
	"avx": "HW_CPU_X86_AVX", "avx2": "HW_CPU_X86_AVX2",
	"avx512-vpopcntdq": "HW_CPU_X86_AVX512VPOPCNTDQ", "avx512bitalg": "HW_CPU_X86_AVX512BITALG",
	"avx512bw": "HW_CPU_X86_AVX512BW", "avx512cd": "HW_CPU_X86_AVX512CD", "avx512dq": "HW_CPU_X86_AVX512DQ",
	"avx512er": "HW_CPU_X86_AVX512ER", "avx512f": "HW_CPU_X86_AVX512F", "avx512ifma": "HW_CPU_X86_AVX512IFMA",
	"avx512pf": "HW_CPU_X86_AVX512PF", "avx512vbmi": "HW_CPU_X86_AVX512VBMI",
	"avx512vbmi2": "HW_CPU_X86_AVX512VBMI2", "avx512vl": "HW_CPU_X86_AVX512VL",
	"avx512vnni": "HW_CPU_X86_AVX512VNNI", "bmi1": "HW_CPU_X86_BMI", "bmi2": "HW_CPU_X86_BMI2",
	"f16c": "HW_CPU_X86_F16C", "fma": "HW_CPU_X86_FMA3", "fma4": "HW_CPU_X86_FMA4",
	"gfni": "HW_CPU_X86_AVX512GFNI", "hle": "HW_CPU_X86_TSX", "mmx": "HW_CPU_X86_MMX", "mpx": "HW_CPU_X86_MPX",
	"pclmuldq": "HW_CPU_X86_CLMUL", "pdpe1gb": "HW_CPU_X86_PDPE1GB", "pni": "HW_CPU_X86_SSE3",
	"rtm": "HW_CPU_X86_TSX", "sha-ni": "HW_CPU_X86_SHA", "sse": "HW_CPU_X86_SSE", "sse2": "HW_CPU_X86_SSE2",
	"sse4.1": "HW_CPU_X86_SSE41", "sse4.2": "HW_CPU_X86_SSE42", "sse4a": "HW_CPU_X86_SSE4A",
	"ssse3": "HW_CPU_X86_SSSE3", "stibp": "HW_CPU_X86_STIBP", "svm": "HW_CPU_X86_SVM", "tbm": "HW_CPU_X86_TBM",
	"vaes": "HW_CPU_X86_AVX512VAES", "vmx": "HW_CPU_X86_VMX", "vpclmulqdq": "HW_CPU_X86_AVX512VPCLMULQDQ",
	"xop": "HW_CPU_X86_XOP",
}
