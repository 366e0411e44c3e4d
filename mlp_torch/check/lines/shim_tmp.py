"""Temporary."""
import types, math
import numpy as np, torch, torch._numpy as tnp
def _mod():
    m = types.ModuleType("np_on_torch")
    for k in dir(tnp):
        if not k.startswith("__"): setattr(m,k,getattr(tnp,k))
    m.pi,m.e,m.newaxis,m.inf,m.nan=np.pi,np.e,None,np.inf,np.nan
    m.random=np.random
    for k in dir(np):
        if not hasattr(m,k): setattr(m,k,getattr(np,k))
    def add_at(a,i,v):
        t=a.tensor; v=v.tensor if isinstance(v,tnp.ndarray) else torch.as_tensor(v,dtype=t.dtype)
        ii=i if isinstance(i,tuple) else (i,)
        ii=tuple(j.tensor if isinstance(j,tnp.ndarray) else torch.as_tensor(j) if isinstance(j,(np.ndarray,list)) else torch.tensor(j) for j in ii)
        sh=t[ii].shape
        a.tensor=t.index_put(ii, v.expand(sh) if v.shape!=sh else v, accumulate=True)
    return m
MOD=_mod()
def real_float(x=0.0):
    if isinstance(x,tnp.ndarray): return tnp.ndarray(x.tensor.reshape(()))
    return float(x)
def substitute(value):
    if value is np: return MOD
    if isinstance(value,np.ndarray): return to(value)
    if isinstance(value,(types.BuiltinFunctionType,np.ufunc,types.FunctionType)) and getattr(value,"__module__",None) in ("numpy",None) and hasattr(MOD,getattr(value,"__name__","?")) and getattr(np,value.__name__,None) is value:
        return getattr(MOD,value.__name__)
    if isinstance(value, types.FunctionType) and (value.__module__ or "").startswith("numpy") and getattr(np,value.__name__,None) is value:
        return getattr(MOD,value.__name__)
    return value
def to(v):
    if isinstance(v,np.ndarray): return tnp.ndarray(torch.tensor(v.astype(np.float64) if v.dtype.kind=="f" else v))
    if isinstance(v,dict): return {k:to(x) for k,x in v.items()}
    if isinstance(v,(list,tuple)): return type(v)(to(x) for x in v)
    return v
EXTRA={"float":real_float}
